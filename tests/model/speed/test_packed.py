"""Hidden states without padding give what padded ones give, and padding touches nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.attention import Attention
from transformer.model.attention_kernels import KERNELS, AttentionKernel, reference
from transformer.model.build import ADDED_TO_SCORES, SELF_ATTENTIONS
from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.layout import PADDED
from transformer.model.speed.packed import Packed, PackedMask, true_first
from transformer.model.speed.variable_length import has_variable_length
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
DecodePacked = Callable[[Transformer, Tensor, Tensor], Tensor]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0], [6, 3, 0, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 0, 0], [2, 15, 16, 0]])
NUM_SOURCE, NUM_TARGET = 10, 9


def long_batch() -> tuple[Tensor, int]:
    """200 tokens in 20 sentences: more than one block of rows."""
    lengths = [*range(1, 20), 10]
    ids = torch.zeros(20, 19, dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(4, 20, (length,))
    return ids, 200


def test_packing_keeps_the_reading_order_and_fills_up_with_zeros() -> None:
    is_token = SOURCE_IDS != 0
    x = torch.randn(3, 5, 4)
    packed = Packed(is_token, NUM_SOURCE).pack(x)
    assert packed.shape == (128, 4)
    assert torch.equal(packed[:NUM_SOURCE], x[is_token])
    assert (packed[NUM_SOURCE:] == 0).all()


@pytest.mark.parametrize("tokens", [127, 128, 129])
def test_one_row_at_least_stands_for_padding(tokens: int) -> None:
    layout = Packed(torch.arange(140)[None] < tokens, tokens)
    assert layout.num_rows > tokens
    assert layout.num_rows % 128 == 0


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_heads_are_those_of_the_padded_layout(parts: int) -> None:
    ids, tokens = long_batch()
    layout = Packed(ids != 0, tokens)
    x = torch.randn(20, 19, parts * 8)
    expected = PADDED.split_heads(x, parts, num_heads=2)
    own = layout.split_heads(layout.pack(x), parts, num_heads=2)
    assert len(own) == parts
    real = (ids != 0)[:, None, :, None]
    for a, b in zip(own, expected, strict=True):
        assert a.shape == (20, 2, 19, 4)
        assert torch.equal(a * real, b * real)
        assert torch.equal(layout.merge_heads(b), layout.pack(PADDED.merge_heads(b)))


def test_gradients_by_finite_differences() -> None:
    is_token = SOURCE_IDS != 0
    layout = Packed(is_token, NUM_SOURCE)

    def through(x: Tensor) -> Tensor:
        query, key = layout.split_heads(layout.pack(x), 2, 2)
        return layout.merge_heads(query * key * is_token[:, None, :, None])

    assert torch.autograd.gradcheck(through, torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_values_and_gradients_are_those_of_padded_batches(
    make_model: MakeModel, decode_packed: DecodePacked, norm: str, kernel: str
) -> None:
    model = make_model(norm=norm, attention_kernel=kernel)
    weights, real = list(model.parameters()), TARGET_IDS != 0
    packed = decode_packed(model, SOURCE_IDS, TARGET_IDS)
    padded = model.decode(TARGET_IDS, model.encode(SOURCE_IDS))[real]
    torch.testing.assert_close(packed, padded, rtol=1e-10, atol=1e-10)
    labels = torch.randint(4, 20, (NUM_TARGET,))
    own, expected = (
        torch.autograd.grad(F.cross_entropy(model.output(hidden), labels), weights) for hidden in (packed, padded)
    )
    for a, b in zip(own, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_no_gradient_comes_from_the_rows_after_the_tokens(make_model: MakeModel, decode_packed: DecodePacked) -> None:
    """A sentence alone and beside others that fill the batch differently: the same gradient."""
    model = make_model()
    weights = list(model.parameters())

    def gradient(rows: int) -> tuple[Tensor, ...]:
        hidden = decode_packed(model, SOURCE_IDS[:rows], TARGET_IDS[:rows])
        return torch.autograd.grad(hidden[:4].square().sum(), weights)

    for alone, beside in zip(gradient(1), gradient(3), strict=True):
        torch.testing.assert_close(alone, beside, rtol=1e-9, atol=1e-12)


def test_dropout_falls_on_packed_states_too(make_model: MakeModel, decode_packed: DecodePacked) -> None:
    model = make_model(dropout=0.5).train()
    first, second = (decode_packed(model, SOURCE_IDS, TARGET_IDS) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("count", [2, 3, 6, 9])
def test_true_ones_come_first_and_in_order(count: int) -> None:
    values = torch.tensor([False, True, False, True, True, False])
    indices = true_first(values, count)
    assert indices.shape == (count,)
    assert indices[:3].tolist() == [1, 3, 4][:count]
    assert ((indices >= 0) & (indices < 6)).all()


def by_loops(query: Tensor, key: Tensor, value: Tensor, mask: PackedMask) -> Tensor:
    """`variable_length` on a CPU, sentence by sentence."""
    attended, sides = [], (mask.queries, mask.keys)
    own, other = (torch.stack([runs.starts[:-1], runs.starts[1:]], dim=1).tolist() for runs in sides)
    assert mask.queries.starts.dtype == torch.int32
    for (begin, end), (first, last) in zip(own, other, strict=True):
        assert end - begin <= mask.queries.longest
        assert last - first <= mask.keys.longest
        q, k, v = query[begin:end], key[first:last], value[first:last]  # (T, H, K), (S, H, K)
        allowed = torch.ones(len(q), len(k), dtype=torch.bool).tril() if mask.causal else None
        attended.append(reference(q.transpose(0, 1)[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None], allowed))
    return torch.cat([heads[0].transpose(0, 1) for heads in attended])  # (n, H, K)


@pytest.fixture
def use_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[AttentionKernel], None]:
    """Lets `auto` stand for a kernel, and kernels that take packed rows take them from a CPU too."""
    monkeypatch.setattr("transformer.model.attention_kernels.has_variable_length", lambda x: True)
    return lambda kernel: monkeypatch.setitem(KERNELS, "auto", kernel)


def never(*heads_and_mask: object) -> Tensor:
    raise AssertionError("this kernel is not to be called")


@pytest.mark.parametrize("change", [{}, {"positions": "rotary"}, {"query_key_norm": True}], ids=str)
def test_sentences_one_after_another_give_what_padded_ones_give(
    make_model: MakeModel,
    decode_packed: DecodePacked,
    use_kernel: Callable[[AttentionKernel], None],
    change: dict[str, object],
) -> None:
    """What a GPU computes, with its kernel replaced by loops: the same states, and the same gradients."""
    use_kernel(AttentionKernel(never, packed=by_loops))  # nothing is laid side by side
    model, plain = make_model(**change), make_model(attention_kernel="reference", **change)
    plain.load_state_dict(model.state_dict())
    rows = decode_packed(model, SOURCE_IDS, TARGET_IDS)
    padded = plain.decode(TARGET_IDS, plain.encode(SOURCE_IDS))[TARGET_IDS != 0]
    torch.testing.assert_close(rows, padded, rtol=1e-10, atol=1e-10)
    labels = torch.randint(0, 20, (NUM_TARGET,))
    gradients = [
        torch.autograd.grad(F.cross_entropy(own.output(hidden), labels), list(own.parameters()))
        for own, hidden in ((model, rows), (plain, padded))
    ]
    for own, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-8, atol=1e-10)


def test_the_rows_after_the_tokens_are_a_sentence_too() -> None:
    runs = Packed(SOURCE_IDS != 0, NUM_SOURCE).rows.runs
    assert runs.starts.tolist() == [0, 5, 8, 10, 128]
    assert runs.longest == 118


def test_a_kernel_that_takes_no_packed_rows_is_never_given_any(
    make_model: MakeModel, decode_packed: DecodePacked, use_kernel: Callable[[AttentionKernel], None]
) -> None:
    shapes = []

    def watched(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        shapes.append((query.dim(), key.dim(), value.dim()))
        return reference(query, key, value, mask)

    use_kernel(AttentionKernel(watched))
    decode_packed(make_model(), SOURCE_IDS, TARGET_IDS)
    assert shapes == [(4, 4, 4)] * 6
    query = torch.zeros(128, 2, 4)
    rows = Packed(SOURCE_IDS != 0, NUM_SOURCE).rows
    with pytest.raises(ValueError, match="takes no packed rows"):
        AttentionKernel(watched)(query, query, query, PackedMask(rows.runs, rows.runs, causal=False))


@pytest.mark.parametrize("change", [{"positions": p} for p in (*ADDED_TO_SCORES, *SELF_ATTENTIONS)], ids=str)
def test_positions_in_the_scores_keep_heads_side_by_side(
    make_model: MakeModel,
    decode_packed: DecodePacked,
    use_kernel: Callable[[AttentionKernel], None],
    change: dict[str, object],
) -> None:
    """Self-attention alone: cross-attention's scores hold no positions."""
    use_kernel(AttentionKernel(reference, packed=by_loops))
    model = make_model(**change)
    attentions = {name: part for name, part in model.named_modules() if isinstance(part, Attention)}
    assert {name for name, part in attentions.items() if part.kernel.packed is not None} == {
        name for name in attentions if name.endswith("cross_attention")
    }
    padded = model.decode(TARGET_IDS, model.encode(SOURCE_IDS))[TARGET_IDS != 0]
    torch.testing.assert_close(decode_packed(model, SOURCE_IDS, TARGET_IDS), padded, rtol=1e-10, atol=1e-10)


def test_attention_that_is_recorded_or_dropped_lies_side_by_side(
    make_model: MakeModel, use_kernel: Callable[[AttentionKernel], None]
) -> None:
    use_kernel(AttentionKernel(reference, packed=never))
    layout, record = Packed(SOURCE_IDS != 0, NUM_SOURCE), AttentionRecord()
    model = make_model(attention_dropout=0.5)
    model.encode(SOURCE_IDS, layout=layout, record=record)
    assert [tuple(weights.shape) for (weights,) in record.maps.values()] == [(3, 4, 5, 5)] * 2
    model.train().encode(SOURCE_IDS, layout=layout)
    with pytest.raises(AssertionError, match="not to be called"):
        model.eval().encode(SOURCE_IDS, layout=layout)


def test_variable_length_is_for_16_bits_on_a_gpu() -> None:
    assert not has_variable_length(torch.zeros(2, dtype=torch.bfloat16))
    assert not has_variable_length(torch.zeros(2, device="meta"))
