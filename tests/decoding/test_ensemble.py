import math
from typing import Any

import pytest
import torch
from torch import nn

from transformer.config import DecodingSection, ModelSection
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam_search import SearchOptions, beam_search
from transformer.decoding.ensemble import EnsembleState, EnsembleStep
from transformer.decoding.score import score_pairs
from transformer.decoding.translator import Translator
from transformer.model.build import build_model
from transformer.model.transformer import Transformer

BOS, EOS = 0, 1
SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog"]


class MeanStep:
    """The mean of toys, as one toy."""

    def __init__(self, toys: list[Any]) -> None:
        self.toys = toys

    def __call__(self, token_ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        fed = state.fed
        means = 0.0
        for toy in self.toys:
            state.fed = fed
            log_probs, state = toy(token_ids, state)
            means = means + log_probs.exp() / len(self.toys)
        return means.log(), state


@pytest.mark.parametrize("count", [1, 2, 3])
def test_beams_of_an_ensemble_are_those_of_the_mean(toy_step: Any, prefix_state: Any, count: int) -> None:
    toys, limits = [toy_step(seed, 7) for seed in range(count)], [9, 2, 6, 7]
    options = SearchOptions(beam_size=3, n_best=3, alpha=0.6, bos_id=BOS, eos_id=EOS, forbidden_ids=(BOS,))
    state = EnsembleState([prefix_state(4) for _ in toys])
    found = beam_search(EnsembleStep(toys), state, limits, options)
    expected = beam_search(MeanStep(toys), prefix_state(4), limits, options)
    for best, best_expected in zip(found, expected, strict=True):
        assert [h.ids for h in best] == [h.ids for h in best_expected]
        assert [h.log_prob for h in best] == pytest.approx([h.log_prob for h in best_expected], rel=1e-5)


@pytest.fixture(scope="module")
def other_model() -> Transformer:
    """Of another shape than the tiny model, with positions that end."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        shape = ModelSection(d_model=8, d_ff=8, num_heads=2, num_encoder_layers=1, num_decoder_layers=1,
                             positions="learned", max_positions=9, tied_embeddings="decoder")  # fmt: skip
        model = build_model(shape, 320, 320, pad_id=0).double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.8)
        return model


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_translations_and_their_scores_agree(
    tiny_model: Transformer, other_model: Transformer, tokenizer: Tokenizer, method: str
) -> None:
    options = DecodingSection(method=method, beam_size=3, n_best=3, max_length_extra=4)
    together = Translator(tiny_model, tokenizer, tokenizer, options, others=[other_model])
    alone = Translator(tiny_model, tokenizer, tokenizer, options)
    found = together.translate_n_best(SENTENCES)
    assert [[t.ids for t in best] for best in found] != [[t.ids for t in b] for b in alone.translate_n_best(SENTENCES)]
    models = [tiny_model, other_model]
    sources = tokenizer.encode(SENTENCES)
    for source, best in zip(sources, found, strict=True):
        assert all(len(t.ids) < 9 for t in best), "longer than the positions of one of the models"
        expected = score_pairs(models, [source[:8]] * 3, [t.ids for t in best])
        assert [t.log_prob for t in best] == pytest.approx(expected, rel=1e-5)


def test_a_model_with_itself_is_itself(tiny_model: Transformer, tokenizer: Tokenizer) -> None:
    options = DecodingSection(beam_size=3, n_best=3, max_length_extra=4)
    twice = Translator(tiny_model, tokenizer, tokenizer, options, others=[tiny_model])
    once = Translator(tiny_model, tokenizer, tokenizer, options)
    for best, expected in zip(twice.translate_n_best(SENTENCES), once.translate_n_best(SENTENCES), strict=True):
        assert [t.text for t in best] == [t.text for t in expected]
        assert [t.score for t in best] == pytest.approx([t.score for t in expected], rel=1e-5)


def test_the_probability_of_a_token_is_the_mean(
    tiny_model: Transformer, other_model: Transformer, tokenizer: Tokenizer
) -> None:
    (source,) = tokenizer.encode(["a bird"])
    of_each = [score_pairs(model, [source], [[]])[0] for model in (tiny_model, other_model)]  # the end mark alone
    (together,) = score_pairs([tiny_model, other_model], [source], [[]])
    assert math.isclose(math.exp(together), sum(map(math.exp, of_each)) / 2, rel_tol=1e-5)
