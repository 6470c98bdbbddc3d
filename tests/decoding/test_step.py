import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transformer.config import DecodingSection, ModelSection
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.beam_search import SearchOptions, beam_search
from transformer.decoding.score import score_pairs
from transformer.decoding.step import EnsembleState, EnsembleStep, ModelState, ModelStep
from transformer.decoding.translator import Translator
from transformer.model.build import build_model
from transformer.model.transformer import Transformer

SOURCE_IDS = torch.tensor([[5, 6, 7, 3], [9, 4, 3, 0], [8, 3, 0, 0]])
BOS, EOS = 0, 1  # of the toys
SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog"]


def fresh(model: Transformer, sentence: int, words: list[int]) -> Tensor:
    """Log-probabilities after a prefix, computed without any cache."""
    hidden = model.decode(torch.tensor([words]), model.encode(SOURCE_IDS[sentence : sentence + 1]))
    return model.output(hidden[0, -1]).log_softmax(0)


@torch.inference_mode()
def test_a_step_gives_the_models_log_probabilities(tiny_model: Transformer) -> None:
    step, state = ModelStep(tiny_model), ModelState(tiny_model, SOURCE_IDS)
    tokens = torch.tensor([[2, 7], [2, 8], [2, 9], [2, 10], [2, 11], [2, 12]])
    step(tokens[:, :1], state)
    log_probs, state = step(tokens[:, 1:], state)
    assert log_probs.shape == (6, 320)
    for row, words in enumerate(tokens.tolist()):
        torch.testing.assert_close(log_probs[row].double(), fresh(tiny_model, row // 2, words), rtol=1e-5, atol=1e-5)


# each run of two rows comes from one sentence; the sentences that are not named have left
@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4, 5], [1, 0, 2, 2, 5, 4], [1, 1, 4, 5], [3, 2], [5, 5]], ids=str)
@torch.inference_mode()
def test_reorder_keeps_each_row_with_its_own_source(tiny_model: Transformer, index: list[int]) -> None:
    step, state = ModelStep(tiny_model), ModelState(tiny_model, SOURCE_IDS)
    begin = torch.tensor([[2, 7], [2, 8], [2, 9], [2, 10], [2, 11], [2, 12]])
    for token in begin.split(1, dim=1):
        step(token, state)
    state.reorder(torch.tensor(index), torch.tensor(index[::2]) // 2)
    newest = torch.arange(20, 20 + len(index))[:, None]
    log_probs, _ = step(newest, state)
    for row, old_row in enumerate(index):
        words = [*begin[old_row].tolist(), 20 + row]
        expected = fresh(tiny_model, old_row // 2, words)
        torch.testing.assert_close(log_probs[row].double(), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_sentences_can_leave_more_than_once(tiny_model: Transformer) -> None:
    step, state = ModelStep(tiny_model), ModelState(tiny_model, SOURCE_IDS)
    step(torch.full((3, 1), 2), state)
    state.reorder(torch.tensor([1, 2]), torch.tensor([1, 2]))
    step(torch.tensor([[7], [8]]), state)
    state.reorder(torch.tensor([1]), torch.tensor([1]))
    log_probs, _ = step(torch.tensor([[9]]), state)
    torch.testing.assert_close(log_probs[0].double(), fresh(tiny_model, 2, [2, 8, 9]), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_log_probabilities_are_fp32_and_sum_to_one_even_for_a_bf16_model(tiny_model: Transformer) -> None:
    model = copy.deepcopy(tiny_model).bfloat16()
    log_probs, _ = ModelStep(model)(torch.full((3, 1), 2), ModelState(model, SOURCE_IDS))
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(3))


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
