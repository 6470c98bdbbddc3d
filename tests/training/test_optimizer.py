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
