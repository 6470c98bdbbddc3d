"""Positions that self-attention knows: against written formulas, independent implementations, and what defines them."""

import math

import pytest
import torch
from torch import Tensor, nn

from transformer.model.attention import AttentionOptions
from transformer.model.attention_kernels import KERNELS
from transformer.model.masks import AttentionContext, additive, causal_mask
from transformer.model.positions.alibi import AlibiBias, slopes
from transformer.model.positions.rotary import RotaryPositions
from transformer.model.positions.shaw import ShawSelfAttention
from transformer.model.positions.t5_bias import T5Bias, bucket_of

POSITIONS = torch.arange(300)


def test_rotary_products_depend_on_the_distance_alone() -> None:
    rotary = RotaryPositions(16)
    query, key = torch.randn(2, 16, dtype=torch.float64)
    for distance in (0, 3, 100):
        products = [
            float(rotary(query, torch.tensor(p + distance)) @ rotary(key, torch.tensor(p))) for p in (0, 7, 500)
        ]
        assert products == pytest.approx([products[0]] * 3, abs=1e-4)


def test_rotary_is_llamas() -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = pytest.importorskip("transformers").LlamaConfig(
        hidden_size=32, num_attention_heads=2, max_position_embeddings=64
    )
    query, key = torch.randn(2, 3, 2, 9, 16)  # each (B, H, T, K)
    positions = torch.arange(5, 14)
    cosines, sines = llama.LlamaRotaryEmbedding(config)(query, positions[None])
    expected = llama.apply_rotary_pos_emb(query, key, cosines, sines)
    rotary = RotaryPositions(16)
    torch.testing.assert_close((rotary(query, positions), rotary(key, positions)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_t5_buckets_and_bias_are_t5s(bidirectional: bool) -> None:
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    config = pytest.importorskip("transformers").T5Config(num_heads=4, is_decoder=not bidirectional)
    theirs = t5.T5Attention(config, has_relative_attention_bias=True)
    distance = POSITIONS[None] - POSITIONS[:, None]
    assert torch.equal(
        bucket_of(distance, bidirectional),
        theirs._relative_position_bucket(distance, bidirectional=bidirectional, num_buckets=32, max_distance=128),
    )
    ours = T5Bias(4, bidirectional)
    ours.weight = nn.Parameter(theirs.relative_attention_bias.weight.detach())
    torch.testing.assert_close(ours(POSITIONS[:9], POSITIONS[:12])[:, :, 8], theirs.compute_bias(9, 12)[:, :, 8])


@pytest.mark.parametrize("bias", [T5Bias(4, True), T5Bias(4, False), AlibiBias(4)], ids=["both", "before", "alibi"])
def test_biases_depend_on_the_distance_alone(bias: nn.Module) -> None:
    for parameter in bias.parameters():
        nn.init.normal_(parameter)
    whole = bias(POSITIONS, POSITIONS)
    torch.testing.assert_close(bias(POSITIONS[:50] + 777, POSITIONS[:50] + 777), whole[:, :, :50, :50])
    torch.testing.assert_close(bias(POSITIONS[20:21], POSITIONS), whole[:, :, 20:21])  # as at a step of decoding


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (8, [2.0**-i for i in range(1, 9)]),
        (2, [2.0**-4, 2.0**-8]),
        (3, [2.0**-4, 2.0**-8, 2.0**-2]),
        (12, [2.0**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]),
    ],
)
def test_slopes_are_the_papers(heads: int, expected: list[float]) -> None:
    assert slopes(heads) == pytest.approx(expected)


def test_alibi_is_symmetric_and_falls() -> None:
    bias = AlibiBias(8)(POSITIONS[:5], POSITIONS[:5])
    torch.testing.assert_close(bias, bias.transpose(2, 3))
    assert bias[0, 0, 0].tolist() == [0.0, -0.5, -1.0, -1.5, -2.0]


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
@pytest.mark.parametrize("on_values", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_shaw_is_equations_three_and_four_with_loops(on_values: bool, causal: bool, kernel: str) -> None:
    options = AttentionOptions(8, 2, KERNELS[kernel])
    attention = ShawSelfAttention(options, farthest=2, on_values=on_values).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    query, key, value = torch.randn(3, 1, 2, 6, 4, dtype=torch.float64)
    mask = additive(causal_mask(6), torch.float64) if causal else torch.zeros(1, 1, 1, 6, dtype=torch.float64)
    attention.requires_grad_(False)
    found = attention.attend(query, key, value, AttentionContext.of_whole_sentences(mask))

    def at(table: Tensor | None, i: int, j: int) -> Tensor:
        return torch.zeros(4, dtype=torch.float64) if table is None else table[max(-2, min(2, j - i)) + 2]

    for head in range(2):
        for i in range(6):
            seen = range(i + 1) if causal else range(6)
            scores = [
                float(query[0, head, i] @ (key[0, head, j] + at(attention.distance_keys, i, j))) / math.sqrt(4)
                for j in seen
            ]
            weights = torch.tensor(scores, dtype=torch.float64).softmax(0)
            expected = sum(
                w * (value[0, head, j] + at(attention.distance_values, i, j))
                for w, j in zip(weights, seen, strict=True)
            )
            torch.testing.assert_close(found[0, head, i], expected)
