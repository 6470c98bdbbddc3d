import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from transformer.model.attention_kernels import KERNELS, attention_weights, fastest, reference, sdpa
from transformer.model.masks import causal_mask, padding_mask

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 5, 4
MASKS = {
    "none": None,
    "padding": padding_mask(torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]), pad_id=0),
    "causal": causal_mask(KEYS),
}


def inputs(dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(BATCH, HEADS, length, WIDTH, dtype=dtype) for length in (QUERIES, KEYS, KEYS)]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_reference_is_equation_one_written_with_loops(mask: Tensor | None) -> None:
    query, key, value = inputs(torch.float64)
    allowed = torch.ones(BATCH, 1, QUERIES, KEYS, dtype=torch.bool) if mask is None else mask
    allowed = allowed.expand(BATCH, HEADS, QUERIES, KEYS)
    result = reference(query, key, value, mask)
    for b, h, t in torch.cartesian_prod(*map(torch.arange, (BATCH, HEADS, QUERIES))).tolist():
        exponentials = [
            math.exp(float(query[b, h, t] @ key[b, h, s]) / math.sqrt(WIDTH)) * bool(allowed[b, h, t, s])
            for s in range(KEYS)
        ]
        expected = sum(e / sum(exponentials) * value[b, h, s] for s, e in enumerate(exponentials))
        torch.testing.assert_close(result[b, h, t], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)]
)
def test_kernels_agree_in_values_and_gradients(mask: Tensor | None, dtype: torch.dtype, tolerance: float) -> None:
    """bfloat16 keeps eight bits: each of the few roundings costs up to 2⁻⁸ of values about 1."""
    leaves = [tensor.requires_grad_() for tensor in inputs(dtype)]
    weight = torch.randn(BATCH, HEADS, QUERIES, WIDTH, dtype=dtype)
    found = []
    for kernel in (reference, sdpa):
        result = kernel(*leaves, mask)
        assert result.dtype == dtype
        found.append([result, *torch.autograd.grad((result * weight).sum(), leaves)])
    for ours, fused in zip(*found, strict=True):
        torch.testing.assert_close(ours, fused, rtol=tolerance, atol=tolerance)


def test_masked_keys_have_no_weight_at_all() -> None:
    query, key, _ = inputs(torch.float32)
    weights = attention_weights(query, 100 * key, MASKS["padding"])
    assert (weights[0, :, :, 3:] == 0).all()
    assert (weights[1] > 0).any(dim=-2).all()


def test_a_query_that_may_attend_to_nothing_gets_even_weights() -> None:
    query, key, _ = inputs(torch.float32)
    weights = attention_weights(query, key, torch.zeros(1, 1, 1, KEYS, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / KEYS))


def test_auto_takes_the_readable_kernel_on_a_cpu_and_the_fused_one_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformer.model.attention_kernels as kernels

    monkeypatch.setattr(kernels, "reference", lambda *_: "reference")
    monkeypatch.setattr(kernels, "sdpa", lambda *_: "sdpa")
    assert KERNELS["auto"].padded is fastest
    for device, expected in (("cpu", "reference"), ("meta", "sdpa")):
        tensor = torch.empty(1, 1, 1, 1, device=device)
        assert fastest(tensor, tensor, tensor, None) == expected


@pytest.fixture
def medium_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # as `configure_process` leaves it
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("in_training", [True, False])
def test_the_processs_precision_changes_in_training_alone(
    medium_precision: None, monkeypatch: pytest.MonkeyPatch, in_training: bool
) -> None:
    """Several threads may translate at once: they would change it under each other's feet."""
    seen, change = [], torch.set_float32_matmul_precision
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda name: (seen.append(name), change(name)))
    query, key, value = inputs(torch.float32)
    reference(query.requires_grad_(in_training), key, value, None)
    assert seen == (["highest", "medium"] if in_training else [])
    assert torch.get_float32_matmul_precision() == "medium"
