from collections.abc import Callable

import pytest
import torch
from torch import nn

from transformer.config import Config
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.training.optimizer import build_optimizer

MakeConfig = Callable[..., Config]


def tiny(config: Config) -> Transformer:
    return build_model(config.model, 24, 24, pad_id=0)


def test_every_parameter_is_in_one_group_and_matrices_alone_decay(make_config: MakeConfig) -> None:
    config = make_config("training.optimizer=adamw", "training.weight_decay=0.1")
    model = tiny(config)
    groups = build_optimizer(model, config.training).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        spared = name.endswith("bias") or "norm" in name
        assert decay[id(parameter)] == (0.0 if spared else 0.1), name


def test_adamw_decays_matrices_even_without_a_gradient_and_spares_the_rest(make_config: MakeConfig) -> None:
    config = make_config("training.optimizer=adamw", "training.weight_decay=0.1", "training.learning_rate=0.5")
    model = tiny(config)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(model, config.training).step()
    for parameter in model.parameters():
        expected = 1 - 0.5 * 0.1 if parameter.dim() > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, expected))


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_options_arrive(make_config: MakeConfig, kind: str) -> None:
    """Two steps against the formulas of Kingma and Ba: the betas and the epsilon are the config's."""
    rate, first, second, epsilon = 0.01, 0.8, 0.9, 0.5
    options = [f"training.optimizer={kind}", f"training.learning_rate={rate}"]
    config = make_config(*options, f"training.betas=[{first}, {second}]", f"training.epsilon={epsilon}")
    model = tiny(config)
    optimizer = build_optimizer(model, config.training)
    assert type(optimizer) is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    weight = model.output.weight
    expected, mean, square = weight.detach().clone(), torch.zeros_like(weight), torch.zeros_like(weight)
    for step in (1, 2):
        gradient = torch.randn_like(weight)
        for parameter in model.parameters():
            parameter.grad = gradient.clone() if parameter is weight else torch.zeros_like(parameter)
        optimizer.step()
        mean, square = first * mean + (1 - first) * gradient, second * square + (1 - second) * gradient**2
        corrected = (square / (1 - second**step)).sqrt() + epsilon
        expected -= rate * mean / (1 - first**step) / corrected
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)


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
