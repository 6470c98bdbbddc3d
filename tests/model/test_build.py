import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from transformer.config import ModelSection
from transformer.config.model_section import Positions
from transformer.errors import UserError
from transformer.model.attention_kernels import KERNELS
from transformer.model.build import (
    ADDED_TO_EMBEDDINGS,
    ADDED_TO_SCORES,
    SELF_ATTENTIONS,
    TURNING_QUERIES_AND_KEYS,
    build_model,
)
from transformer.model.layers import Linear
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SHAPE = {"d_model": 16, "d_ff": 24, "num_heads": 4, "num_encoder_layers": 1, "num_decoder_layers": 1}


def expected_parameters(options: ModelSection, source_size: int, target_size: int) -> int:
    """The count by formula."""
    d, ff = options.d_model, options.d_ff
    projection, norm = d * d + d, 2 * d
    feed_forward = d * ff + ff + ff * d + d
    encoder = options.num_encoder_layers * (4 * projection + feed_forward + 2 * norm)
    decoder = options.num_decoder_layers * (8 * projection + feed_forward + 3 * norm)
    embeddings = {
        "three_way": target_size,
        "decoder": source_size + target_size,
        "none": source_size + 2 * target_size,
    }[options.tied_embeddings]
    return encoder + decoder + embeddings * d + (2 * norm if options.norm == "pre" else 0)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize(("tied", "source_size"), [("three_way", 30), ("decoder", 25), ("none", 25)])
def test_parameter_count(tied: str, source_size: int, norm: str) -> None:
    options = ModelSection(d_model=8, d_ff=20, num_heads=2, num_encoder_layers=3, num_decoder_layers=2,
                           tied_embeddings=tied, norm=norm)  # fmt: skip
    model = build_model(options, source_size, 30, pad_id=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected_parameters(options, source_size, 30)


def test_the_papers_base_model_has_its_size() -> None:
    """Table 3 says 65 million, with a shared vocabulary of about 37,000."""
    with torch.device("meta"):
        model = build_model(ModelSection(), 37_000, 37_000, pad_id=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 63_082_496


def test_names_and_shapes_are_those_that_checkpoints_hold() -> None:
    """A renamed parameter makes every saved model unreadable."""
    model = build_model(ModelSection(**SHAPE, norm="pre", tied_embeddings="decoder"), 20, 30, pad_id=0)
    assert {name: tuple(parameter.shape) for name, parameter in model.named_parameters()} == STORED
    assert model.state_dict().keys() == {*STORED, "output.weight"}


def vectors(*names: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{kind}": (16,) for name in names for kind in ("weight", "bias")}


def linear(name: str, outputs: int, inputs: int = 16) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


STORED: dict[str, tuple[int, ...]] = {
    **linear("encoder.layers.0.self_attention.query_key_value", 48),
    **linear("encoder.layers.0.self_attention.output", 16),
    **linear("encoder.layers.0.feed_forward.expand", 24),
    **linear("encoder.layers.0.feed_forward.contract", 16, 24),
    **vectors("encoder.layers.0.self_attention_residual.norm", "encoder.layers.0.feed_forward_residual.norm"),
    **vectors("encoder.norm"),
    **linear("decoder.layers.0.self_attention.query_key_value", 48),
    **linear("decoder.layers.0.self_attention.output", 16),
    **linear("decoder.layers.0.cross_attention.query", 16),
    **linear("decoder.layers.0.cross_attention.key_value", 32),
    **linear("decoder.layers.0.cross_attention.output", 16),
    **linear("decoder.layers.0.feed_forward.expand", 24),
    **linear("decoder.layers.0.feed_forward.contract", 16, 24),
    **vectors("decoder.layers.0.self_attention_residual.norm", "decoder.layers.0.cross_attention_residual.norm"),
    **vectors("decoder.layers.0.feed_forward_residual.norm", "decoder.norm"),
    "source_embedding.weight": (20, 16),
    "target_embedding.weight": (30, 16),
}


@pytest.mark.parametrize(("tied", "matrices"), [("three_way", 1), ("decoder", 2), ("none", 3)])
def test_tied_embeddings_are_one_tensor(make_model: MakeModel, tied: str, matrices: int) -> None:
    model = make_model(tied_embeddings=tied)
    source, target, output = model.source_embedding.weight, model.target_embedding.weight, model.output.weight
    assert len({id(weight) for weight in (source, target, output)}) == matrices
    assert (target is output) == (tied != "none")


@pytest.mark.parametrize("tied", ["three_way", "decoder"])
def test_gradients_of_tied_embeddings_are_the_sum_of_the_untied(make_model: MakeModel, tied: str) -> None:
    source_ids, target_ids = torch.tensor([[5, 6, 3]]), torch.tensor([[2, 7, 8]])
    tied_model, untied = make_model(tied_embeddings=tied), make_model(tied_embeddings="none")
    untied.load_state_dict(tied_model.state_dict())
    for model in (tied_model, untied):
        F.cross_entropy(model(source_ids, target_ids).flatten(0, 1), torch.tensor([7, 8, 3])).backward()
    parts = [untied.source_embedding, untied.target_embedding, untied.output]
    shared = parts if tied == "three_way" else parts[1:]
    total = torch.stack([part.weight.grad for part in shared]).sum(dim=0)
    torch.testing.assert_close(tied_model.output.weight.grad, total, rtol=1e-10, atol=1e-10)


def test_three_way_tying_needs_one_vocabulary() -> None:
    with pytest.raises(UserError, match="needs one vocabulary, not two of 20 and 30"):
        build_model(ModelSection(**SHAPE), 20, 30, pad_id=0)


def test_initialisation() -> None:
    """Xavier's bound for each stacked projection by itself, zero biases, embeddings of variance 1/D."""
    options = ModelSection(d_model=64, d_ff=128, num_heads=4, num_encoder_layers=1, num_decoder_layers=1,
                           tied_embeddings="none", norm="pre")  # fmt: skip
    model = build_model(options, 600, 600, pad_id=0)
    linears = [module for module in model.modules() if isinstance(module, Linear)]
    assert len(linears) == 4 + 7
    for module in linears:
        assert not module.bias.any()
        for matrix in module.weight.split(module.widths):
            bound = math.sqrt(6 / sum(matrix.shape))
            assert 0.98 * bound < matrix.abs().max() <= bound
            assert matrix.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    for embedding in (model.source_embedding, model.target_embedding, model.output):
        assert embedding.weight.std().item() == pytest.approx(1 / 8, rel=0.02)
        assert embedding.weight.mean().item() == pytest.approx(0, abs=0.005)
    for norm in (module for module in model.modules() if isinstance(module, nn.LayerNorm)):
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


def test_no_two_matrices_begin_alike() -> None:
    model = build_model(ModelSection(**SHAPE, tied_embeddings="none"), 20, 20, pad_id=0)
    beginnings = [tuple(p.flatten()[:4].tolist()) for p in model.parameters() if p.dim() > 1]
    assert len(set(beginnings)) == len(beginnings)


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_model(ModelSection(**SHAPE), 20, 20, pad_id=0)
        return nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize("kernel", ["auto", "reference", "sdpa"])
def test_every_attention_uses_the_chosen_kernel(make_model: MakeModel, kernel: str) -> None:
    modules = make_model(attention_kernel=kernel).modules()
    assert {module.kernel for module in modules if hasattr(module, "kernel")} == {KERNELS[kernel]}


def test_each_position_scheme_fills_one_slot() -> None:
    slots = (ADDED_TO_EMBEDDINGS, TURNING_QUERIES_AND_KEYS, ADDED_TO_SCORES, SELF_ATTENTIONS)
    assert sorted(name for slot in slots for name in slot) == sorted({*get_args(Positions)} - {"none"})
