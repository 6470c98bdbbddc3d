"""Every variant of the model, and every pair of variants, through the checks that each must pass."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.config import ModelSection
from transformer.model.transformer import EncoderOutput, Transformer

MakeModel = Callable[..., Transformer]
AXES: dict[str, tuple[object, ...]] = {
    "positions": ("sinusoidal", "learned", "shaw_keys", "shaw_keys_values", "t5_bias", "alibi", "rotary", "none"),
    "norm": ("post", "pre", "sandwich", "deep"),
    "norm_kind": ("layer", "rms"),
    "feed_forward": ("relu", "gelu", "silu", "geglu", "swiglu"),
    "num_key_value_heads": (None, 2, 1),
    "decoder_self_attention": ("attention", "average", "ssru"),
    "query_key_norm": (False, True),
    "attention_kernel": ("reference", "sdpa"),
}
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0], [6, 6, 6, 3, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13, 7, 9], [2, 14, 5, 0, 0, 0], [2, 15, 16, 4, 0, 0]])
NUM_SOURCE, NUM_TARGET = 12, 13
Choice = dict[str, object]


def is_possible(choice: Choice) -> bool:
    return choice["num_key_value_heads"] is None or not str(choice["positions"]).startswith("shaw")


def pairwise() -> Iterator[Choice]:
    """Choices in which every possible pair of values of two axes comes: greedily, the pair that is still missing and
    then whatever covers most others."""
    missing = {
        ((a, x), (b, y)) for a, b in itertools.combinations(AXES, 2) for x in AXES[a] for y in AXES[b]
        if is_possible({"num_key_value_heads": None, "positions": "none", a: x, b: y})
    }  # fmt: skip
    everything = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    possible = [choice for choice in everything if is_possible(choice)]
    while missing:
        sample = possible[:: max(1, len(possible) // 1500)]
        best = max(sample, key=lambda choice: len(missing & set(itertools.combinations(choice.items(), 2))))
        if not missing & set(itertools.combinations(best.items(), 2)):
            pair = min(missing, key=repr)
            best = next(choice for choice in possible if set(pair) <= set(choice.items()))
        missing -= set(itertools.combinations(best.items(), 2))
        yield best


CHOICES = list(pairwise())
NAMES = ["-".join(str(value) for value in choice.values()) for choice in CHOICES]


@pytest.fixture(params=CHOICES, ids=NAMES)
def model(request: pytest.FixtureRequest, make_model: MakeModel) -> Transformer:
    return make_model(**request.param)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_every_pair_of_variants_comes() -> None:
    covered = set(itertools.chain.from_iterable(itertools.combinations(choice.items(), 2) for choice in CHOICES))
    for (a, x), (b, y) in itertools.combinations([(axis, value) for axis in AXES for value in AXES[axis]], 2):
        if a != b and is_possible({"num_key_value_heads": None, "positions": "none", a: x, b: y}):
            assert ((a, x), (b, y)) in covered
    assert {name for name in ModelSection.model_fields if name in AXES} == set(AXES)


def test_a_position_sees_no_later_one(model: Transformer) -> None:
    encoded = model.encode(SOURCE_IDS)
    before = model.decode(TARGET_IDS[:1], encoded.select(torch.tensor([0])))
    changed = TARGET_IDS[:1].clone()
    changed[0, 4:] = torch.tensor([17, 18])
    after = model.decode(changed, encoded.select(torch.tensor([0])))
    close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_padding_changes_nothing(model: Transformer) -> None:
    whole = model(SOURCE_IDS, TARGET_IDS)
    for row in range(3):
        source, target = (ids[row, ids[row] != 0][None] for ids in (SOURCE_IDS, TARGET_IDS))
        close(model(source, target)[0], whole[row, : target.shape[1]])


def test_packed_is_padded_in_values_and_gradients(model: Transformer) -> None:
    weights = list(model.parameters())
    padded = model.decode(TARGET_IDS, model.encode(SOURCE_IDS))[TARGET_IDS != 0]
    packed = model.decode_packed(SOURCE_IDS, TARGET_IDS, NUM_SOURCE, NUM_TARGET)
    close(packed, padded)
    labels = torch.randint(0, 20, (NUM_TARGET,))
    for own, expected in zip(
        *(torch.autograd.grad(F.cross_entropy(model.output(h), labels), weights) for h in (packed, padded)), strict=True
    ):
        torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-9)


def test_step_by_step_is_the_whole_whatever_beams_and_sentences_do(model: Transformer) -> None:
    """One row a sentence, then three that change places, then a sentence leaves; 14 steps outgrow the first buffers."""
    encoded, cache = model.encode(SOURCE_IDS), model.new_cache()
    fed = torch.randint(4, 20, (3, 1))  # (rows, tokens so far)
    sentences = torch.arange(3)
    newest = model.decode(fed, encoded, cache)
    for step in range(14):
        if step == 0:
            rows, stay = torch.arange(3).repeat_interleave(3), None
        elif step == 7:
            rows, stay = torch.tensor([2, 0, 0, 8, 7, 6]), torch.tensor([0, 2])
        else:
            rows = torch.cat([start + torch.randint(0, 3, (3,)) for start in range(0, len(fed), 3)])
            stay = None
        cache.reorder(rows, stay)
        encoded = encoded if stay is None else encoded.select(stay)
        sentences = sentences[rows]
        fed = torch.cat([fed[rows], torch.randint(4, 20, (len(rows), 1))], dim=1)
        newest = model.decode(fed[:, -1:], encoded, cache)
    source = model.encode(SOURCE_IDS)
    of_rows = EncoderOutput(source.hidden[sentences], source.source_mask[sentences])
    close(newest, model.decode(fed, of_rows)[:, -1:])
