from collections.abc import Callable

import pytest
import torch

from transformer.data.tokenizer import EOS
from transformer.decoding.rules.repetition_guard import has_run_away
from transformer.decoding.translator import Translator
from transformer.model.transformer import Transformer

MakeTranslator = Callable[..., Translator]
SENTENCES = ["the cat sees two dog", "", "old house", "a bird", "small tree likes the big red dog", "two", "dog sees"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([5, 6, 7], False),
        ([5, 9, 9, 9, 9], True),
        ([5, 9, 9, 9], False),
        ([1, 2, 1, 2, 1, 2, 1, 2], True),
        ([1, 2, 1, 2, 1, 2, 1, 2, 3], True),  # a full stop
        ([1, 2, 1, 2, 1, 2, 1, 2, 3, 4], False),
        ([*range(8)] * 4, True),
        ([*range(9)] * 4, False),
        ([*range(99)], True),  # as long as may be
        ([], False),
    ],
)
def test_what_ran_away(ids: list[int], expected: bool) -> None:
    assert has_run_away(ids, 100) is expected


def test_one_that_ran_away_is_translated_again(make_translator: MakeTranslator) -> None:
    """This model writes the same byte until it must stop."""
    heard = list[str]()
    plain = make_translator().translate_n_best(SENTENCES)
    guarded = make_translator(heard.append, repetition_guard=2)
    found = guarded.translate_n_best(SENTENCES, first_number=5)
    without = make_translator(no_repeat_ngram_size=2).translate_n_best(SENTENCES)
    again = [index for index, (best, before) in enumerate(zip(found, plain, strict=True)) if best != before]
    assert len(again) > 3
    assert [[t.ids for t in found[index]] for index in again] == [[t.ids for t in without[index]] for index in again]
    assert len(heard) == len(again)
    assert heard[0].startswith(f"sentence {5 + again[0]}: its translation ran away; translated again with no 2 tokens")


def test_the_guard_leaves_the_others_alone(make_translator: MakeTranslator, tiny_model: Transformer) -> None:
    heard = list[str]()
    with torch.no_grad():
        tiny_model.output.weight[EOS] += 3.0
    try:
        plain = make_translator(max_length_extra=40).translate_n_best(SENTENCES)
        found = make_translator(heard.append, max_length_extra=40, repetition_guard=2).translate_n_best(SENTENCES)
    finally:
        with torch.no_grad():
            tiny_model.output.weight[EOS] -= 3.0
    same = sum(best == before for best, before in zip(found, plain, strict=True))
    assert 0 < same == len(SENTENCES) - len(heard) < len(SENTENCES)
