"""Compiled layers: the same training, and none where there is no compiler."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from transformer.model.transformer import Transformer
from transformer.runtime.reporting import SilentReporter, TerminalReporter
from transformer.training.machine import compilation
from transformer.training.machine.compilation import compile_layers, uncompiled
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
CPU = torch.device("cpu")


def compiled_layers(model: Transformer) -> int:
    return sum(module._compiled_call_impl is not None for module in model.modules())


def test_without_a_compiler_the_layers_stay_as_they_are(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("no C++ compiler\nand a page of advice")

    monkeypatch.setattr(compilation.torch, "compile", missing)
    trainer, said = make_trainer(), io.StringIO()
    assert not compile_layers(trainer.model, CPU, TerminalReporter(said))
    assert said.getvalue().splitlines() == [
        "warning: training.compile: nothing is compiled, for this machine's compiler fails: no C++ compiler"
    ]
    assert compiled_layers(trainer.model) == 0


def test_validation_runs_what_was_written(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler whose code leaves a mark: training runs it and learns what it would without, validation does not."""
    calls = []

    def marked(graph: torch.fx.GraphModule, examples: list[torch.Tensor]) -> Callable[..., Any]:
        def run(*inputs: torch.Tensor) -> Any:
            calls.append(len(inputs))
            return graph(*inputs)

        return run

    whole = torch.compile
    monkeypatch.setattr(
        compilation.torch, "compile", lambda what, **options: whole(what, **{"backend": marked, **options})
    )
    torch.compiler.reset()
    short = ("training.max_updates=1", "training.log_every=1")
    trainer, plain = make_trainer(*short), make_trainer(*short, directory="plain")
    names = [name for name, _ in trainer.model.named_parameters()]
    assert compile_layers(trainer.model, CPU, SilentReporter())
    assert compiled_layers(trainer.model) == 2  # a layer of the encoder, one of the decoder
    assert [name for name, _ in trainer.model.named_parameters()] == names
    calls.clear()  # of the probe
    with uncompiled(), torch.no_grad():
        trainer.model(torch.tensor([[5, 6, 3]]), torch.tensor([[2, 7]]))
    assert not calls
    trainer.fit()
    assert calls
    torch.compiler.reset()
    plain.fit()
    for own, expected in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.slow
def test_compiled_training_is_the_same_training(make_trainer: MakeTrainer) -> None:
    plain, compiled = make_trainer(directory="plain"), make_trainer(directory="compiled")
    assert compile_layers(compiled.model, CPU, SilentReporter())
    for trainer in (plain, compiled):
        trainer.fit()
    losses = [[record["loss"] for record in trainer.listeners[0].of("train")] for trainer in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
