import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from transformer.decoding.speed import prepack as module
from transformer.decoding.speed.prepack import Int8Linear, PrepackedLinear, prepack, prepack_int8
from transformer.errors import UserError
from transformer.model.transformer import Transformer
from transformer.runtime.device import configure_process

SOURCE_IDS = torch.tensor([[5, 6, 7, 3], [9, 4, 3, 0]])
TARGET_IDS = torch.tensor([[2, 7, 8], [2, 9, 0]])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 40), (3, 5, 40), (300, 40)])
@torch.inference_mode()
def test_fp32_stays_fp32(shape: tuple[int, ...], bias: bool) -> None:
    """As a process of ours multiplies, which asks the processor whether oneDNN may round inside fp32 products."""
    configure_process(1, torch.device("cpu"))
    linear, x = nn.Linear(40, 72, bias=bias), torch.randn(shape)
    exact = linear.double()(x.double())
    found = PrepackedLinear(linear.float().weight, linear.bias)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_a_prepacked_model_gives_the_same_logits(tiny_model: Transformer) -> None:
    plain = copy.deepcopy(tiny_model).float()
    model = copy.deepcopy(plain)
    prepack(model)
    assert not [module for module in model.modules() if isinstance(module, nn.Linear)]
    torch.testing.assert_close(model(SOURCE_IDS, TARGET_IDS), plain(SOURCE_IDS, TARGET_IDS), rtol=1e-5, atol=1e-5)
    assert model.device == tiny_model.device


@torch.inference_mode()
def test_bf16_weights_give_nearly_the_same(tiny_model: Transformer) -> None:
    plain = copy.deepcopy(tiny_model).float()
    model = copy.deepcopy(plain).bfloat16()
    prepack(model)
    logits, exact = model(SOURCE_IDS, TARGET_IDS), plain(SOURCE_IDS, TARGET_IDS)
    assert logits.dtype == torch.bfloat16
    assert float((logits.float() - exact).norm() / exact.norm()) < 0.03


def test_without_the_operators_nothing_changes(tiny_model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformer.decoding.speed.prepack._has_operators", lambda: False)
    model = copy.deepcopy(tiny_model)
    before = [type(module) for module in model.modules()]
    prepack(model)
    assert [type(module) for module in model.modules()] == before


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_int8_is_the_product_of_rounded_weights_and_rounded_inputs(bias: bool, relu: bool) -> None:
    """Each output has a scale of its own: rows of very different size lose no more than one alone."""
    linear, x = nn.Linear(40, 72, bias=bias), torch.randn(3, 5, 40)
    linear.weight *= torch.logspace(-3, 3, 72)[:, None]
    exact = linear(x).relu() if relu else linear(x)
    found = Int8Linear(linear.weight, linear.bias)(x, relu=relu)
    assert found.dtype == torch.float32
    error = (found - exact).flatten(0, 1).norm(dim=0) / linear(x).flatten(0, 1).norm(dim=0)
    assert 0 < float(error.max()) < 0.05


@pytest.mark.parametrize("saturates", [True, False])
@pytest.mark.parametrize("shape", [(1, 40), (3, 5, 64), (300, 512)])
@torch.inference_mode()
def test_int8_is_exact_for_whole_numbers(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], saturates: bool
) -> None:
    """The largest sums that there are too. Where sums saturate weights have 7 bits, elsewhere 8."""
    if not saturates and module._saturates(module._int8_engine()):
        pytest.skip("this processor has no 8-bit dot product")
    monkeypatch.setattr(module, "_saturates", lambda engine: saturates)
    largest = 63 if saturates else 127
    weight = torch.randint(-largest, largest + 1, (72, shape[-1])).float()
    weight[0], weight[1], weight[2:, 0] = largest, -largest, largest
    x = torch.randint(0, 256, shape).float()
    x[..., 0], x[0] = 0, 255
    assert torch.equal(Int8Linear(weight, None)(x), x @ weight.T)
    weight[:, 0] = 2 * largest  # twice as coarse: odd numbers are lost
    rounded = (weight / 2).round() * 2
    assert torch.equal(Int8Linear(weight, None)(x), x @ rounded.T)


@torch.inference_mode()
def test_int8_weights_give_nearly_the_same(tiny_model: Transformer) -> None:
    plain = copy.deepcopy(tiny_model).float()
    model = copy.deepcopy(plain)
    prepack_int8(model)
    assert not [module for module in model.modules() if isinstance(module, nn.Linear)]
    logits, exact = model(SOURCE_IDS, TARGET_IDS), plain(SOURCE_IDS, TARGET_IDS)
    assert 0 < float((logits - exact).norm() / exact.norm()) < 0.05


def test_int8_where_there_is_none_is_one_clear_error(tiny_model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformer.decoding.speed.prepack._int8_engine", lambda: "")
    with pytest.raises(UserError, match=r"decoding.precision=int8: not on cpu .* use fp32 or bf16"):
        prepack_int8(tiny_model)


def test_threads_may_round_weights_at_once(tiny_model: Transformer) -> None:
    """As searches with a shortlist do; the engine of 8-bit products belongs to the whole process."""
    model, hidden = copy.deepcopy(tiny_model).float(), torch.randn(3, 16)
    prepack_int8(model)
    engine = torch.backends.quantized.engine
    shortlists = [torch.arange(start, start + 40) for start in range(0, 240, 6)]

    @torch.inference_mode()
    def logits(ids: torch.Tensor) -> list[list[float]]:
        return model.output.select(ids)(hidden).tolist()

    expected = [logits(ids) for ids in shortlists]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(logits, shortlists)) == expected
    assert torch.backends.quantized.engine == engine
