import pytest
import torch

from transformer.data.batch import pad_rows
from transformer.decoding.beam_search import SearchOptions, beam_search
from transformer.decoding.score import score_pairs
from transformer.decoding.step import ModelState, ModelStep
from transformer.model.transformer import Transformer

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SOURCES = [[5, 6, 7], [9], [8, 8, 4, 10, 11]]


@torch.inference_mode()
def test_scoring_what_the_search_found_gives_the_searchs_own_score(tiny_model: Transformer) -> None:
    """Every one of the n best, those that the limit ended included."""
    options = SearchOptions(beam_size=5, n_best=5, alpha=0.6, bos_id=BOS, eos_id=EOS, forbidden_ids=(PAD, UNK, BOS))
    state = ModelState(tiny_model, pad_rows(SOURCES, last=EOS))
    found = beam_search(ModelStep(tiny_model), state, [7, 3, 9], options)
    pairs = [(source, hypothesis) for source, best in zip(SOURCES, found, strict=True) for hypothesis in best]
    assert len(pairs) == 15
    assert len({len(hypothesis.ids) for _, hypothesis in pairs}) > 2
    scores = score_pairs(tiny_model, [source for source, _ in pairs], [hypothesis.ids for _, hypothesis in pairs])
    assert scores == pytest.approx([hypothesis.log_prob for _, hypothesis in pairs], rel=1e-5)


@torch.inference_mode()
def test_it_is_the_sum_over_tokens_written_as_a_loop(tiny_model: Transformer) -> None:
    target = [12, 13, 14]
    encoded = tiny_model.encode(torch.tensor([[*SOURCES[0], EOS]]))
    hidden = tiny_model.decode(torch.tensor([[BOS, *target]]), encoded)
    log_probs = tiny_model.output(hidden)[0].log_softmax(-1)
    expected = sum(float(log_probs[position, token]) for position, token in enumerate([*target, EOS]))
    assert score_pairs(tiny_model, SOURCES[:1], [target]) == pytest.approx([expected], rel=1e-6)


def test_padding_changes_no_score(tiny_model: Transformer) -> None:
    targets = [[12], [], [13, 14, 15, 16]]
    together = score_pairs(tiny_model, SOURCES, targets)
    alone = [score_pairs(tiny_model, [s], [t])[0] for s, t in zip(SOURCES, targets, strict=True)]
    assert together == pytest.approx(alone, rel=1e-6)
    assert len(set(together)) == 3


def test_probabilities_of_all_short_targets_leave_room_for_the_rest(tiny_model: Transformer) -> None:
    """The empty target and all of one token: probabilities that sum to less than one, by what is longer."""
    one_token = [[token] for token in range(320) if token not in (PAD, EOS)]
    targets = [[], *one_token]
    scores = torch.tensor(score_pairs(tiny_model, [SOURCES[0]] * len(targets), targets))
    assert 0 < scores.exp().sum() < 1
