from collections.abc import Callable
from typing import Any

import pytest
import torch

from transformer.decoding.beam_search import Hypothesis, SearchOptions, beam_search
from transformer.decoding.candidates.diverse import DiverseGroups
from transformer.decoding.translator import Translator

BOS, EOS = 0, 1
OPTIONS = SearchOptions(beam_size=2, n_best=2, alpha=0.6, bos_id=BOS, eos_id=EOS, forbidden_ids=(BOS,))
LIMITS = [9, 5, 12, 7, 3, 11, 8, 10, 6, 12, 4]  # so many that they leave in groups, not all at once
SENTENCES = ["the cat sees two dog", "", "old house", "a bird", "small tree likes the big red dog", "two", "dog sees"]
Toy = Any  # the classes of conftest.py
MakeTranslator = Callable[..., Translator]


def diverse(toy: Toy, state: Toy, strength: float, count: int = 3) -> list[list[Hypothesis]]:
    """Diverse groups of a few sentences: (sentence 0, group 0), (sentence 0, group 1), …"""
    sentences, rows = len(LIMITS), state(len(LIMITS) * count)
    rows.sentences = torch.arange(sentences).repeat_interleave(count)
    rows.reorder = lambda order, _: _reorder(rows, order)
    limits = [limit for limit in LIMITS for _ in range(count)]
    return beam_search(toy, rows, limits, OPTIONS, pruning=DiverseGroups(sentences, count, strength, 2, EOS))


def _reorder(state: Toy, rows: torch.Tensor) -> None:
    state.sentences, state.fed = state.sentences[rows], state.fed[rows]


def test_groups_that_pay_nothing_are_the_same_small_beams(toy_step: Toy, prefix_state: Toy) -> None:
    plain = beam_search(toy_step(1, 12), prefix_state(len(LIMITS)), LIMITS, OPTIONS)
    assert diverse(toy_step(1, 12), prefix_state, 0.0) == [best for best in plain for _ in range(3)]


def test_the_first_group_is_free_and_the_others_keep_away(toy_step: Toy, prefix_state: Toy) -> None:
    plain = beam_search(toy_step(1, 12), prefix_state(len(LIMITS)), LIMITS, OPTIONS)
    found = diverse(toy_step(1, 12), prefix_state, 1000.0)
    assert found[::3] == plain
    for sentence in range(len(LIMITS)):
        firsts = [{h.ids[0] for h in best if h.ids} for best in found[3 * sentence : 3 * sentence + 3]]
        assert not firsts[0] & firsts[1] and not firsts[0] & firsts[2] and not firsts[1] & firsts[2]
        for h in (h for best in found[3 * sentence : 3 * sentence + 3] for h in best):
            assert h.log_prob == pytest.approx(toy_step(1, 12).log_prob(sentence, h.ids), abs=1e-3)


def test_a_diverse_list_differs_more(make_translator: MakeTranslator) -> None:
    def kinds(**options: object) -> int:
        found = make_translator(**options).translate_n_best(SENTENCES)
        assert all([t.score for t in best] == sorted((t.score for t in best), reverse=True) for best in found)
        assert all(len({tuple(t.ids) for t in best}) == len(best) for best in found)
        return sum(len({token for t in best for token in t.ids}) for best in found)

    assert kinds(diverse_groups=4, diversity_strength=5.0) > 1.5 * kinds()


def test_diverse_groups_do_not_notice_who_is_searched_beside_them(make_translator: MakeTranslator) -> None:
    """A group that is done waits in the batch until others are, and must charge its sentence's later groups no more."""
    sentences = [sentence for sentence in SENTENCES * 4 if sentence]
    found = [
        make_translator(diverse_groups=4, beam_size=4, n_best=4, diversity_strength=5.0, batch_size=size)
        for size in (1, 64)
    ]
    alone, together = ([[t.ids for t in best] for best in each.translate_n_best(sentences)] for each in found)
    assert alone == together
