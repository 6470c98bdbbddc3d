"""Muon beside AdamW: which parameters each takes, and that both learn at the rate of the update."""

from collections.abc import Callable

import pytest
import torch

from transformer.config import Config
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.training.optimizer import build_optimizer

MakeConfig = Callable[..., Config]


def tiny(config: Config) -> Transformer:
    return build_model(config.model, 24, 24, pad_id=0)


@pytest.mark.parametrize("positions", ["sinusoidal", "t5_bias", "shaw_keys_values"])
def test_muon_turns_the_matrices_of_layers_alone(make_config: MakeConfig, positions: str) -> None:
    rate = "training.learning_rate=0.01"
    config = make_config("training.optimizer=muon", rate, f"model.positions={positions}")
    model = tiny(config)
    optimizer = build_optimizer(model, config.training)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.step()
    for name, parameter in model.named_parameters():
        kept = optimizer.state[parameter].keys()
        in_layer = ".layers." in name and parameter.dim() == 2 and "distance" not in name
        assert kept == ({"momentum_buffer"} if in_layer else {"step", "exp_avg", "exp_avg_sq"}), name
        if in_layer:  # an orthogonal step: its singular values are about alike, and 0.2·√(longer side) of the rate
            values = torch.linalg.svdvals((before[name] - parameter.detach()).double())
            expected = 0.01 * 0.2 * max(parameter.shape) ** 0.5
            assert float(values.median()) > 0.6 * expected, name  # a random matrix has tiny ones too
            assert float(values.max()) < 1.3 * expected, name


def test_muons_learning_rate_is_the_one_of_each_update(make_config: MakeConfig) -> None:
    config = make_config("training.optimizer=muon", "training.learning_rate=0.01", "training.weight_decay=0.5")
    model = tiny(config)
    optimizer = build_optimizer(model, config.training)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if parameter.dim() > 1 else 1.0))


def test_a_closure_is_refused(make_config: MakeConfig) -> None:
    config = make_config("training.optimizer=muon", "training.learning_rate=0.01")
    with pytest.raises(ValueError, match="no closure"):
        build_optimizer(tiny(config), config.training).step(lambda: 0.0)
