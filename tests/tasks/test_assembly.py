"""A trainer put together from a config, and from a researcher's own parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from transformer import train
from transformer.config import ModelSection, TrainingSection
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.runtime.records import Record
from transformer.runtime.reporting import SilentReporter
from transformer.training.loss import LossSums
from transformer.training.objective import CrossEntropy


class Doubled(CrossEntropy):
    """The objective, twice as large."""

    def forward(self, *batch: Tensor) -> LossSums:
        sums = super().forward(*batch)
        return LossSums(2 * sums.loss, sums.negative_log_likelihood)


class Records(list[Record]):
    def record(self, record: Record) -> None:
        self.append(record)

    def forget_after(self, update: int) -> None: ...

    def close(self) -> None: ...


def test_ones_own_model_objective_and_listeners(tiny_project: Path, tmp_path: Path) -> None:
    built: list[Transformer] = []

    def own_model(options: ModelSection, source_size: int, target_size: int, pad_id: int) -> Transformer:
        built.append(build_model(options, source_size, target_size, pad_id))
        return built[-1]

    def doubled(model: Transformer, options: TrainingSection, precision: torch.dtype) -> Doubled:
        return Doubled(model, precision, options.label_smoothing)

    overrides = ["training.max_updates=2", "training.log_every=1", "validation.every=2", "validation.max_sentences=0"]
    overrides += ["validation.metric=loss", "training.precision=fp32"]
    losses = {}
    for name, parts in {"given": {}, "own": {"model": own_model, "objective": doubled}}.items():
        heard, directory = Records(), {"run": {"directory": str(tmp_path / name)}}
        common = {"listeners": [heard], "reporter": SilentReporter()}
        result = train(tiny_project / "config.yaml", [*overrides, directory], **common, **parts)
        losses[name] = [record["loss"] for record in heard if record["kind"] == "train"]
    assert len(built) > 1, "training's own, and that of the run it left"
    assert result.run.load_model() is built[-1]
    assert losses["own"][0] == 2 * losses["given"][0]  # before the first update the weights are the same


def test_a_listener_without_its_methods_is_refused_at_once(tiny_project: Path) -> None:
    with pytest.raises(TypeError, match="needs the methods record, forget_after and close"):
        train(tiny_project / "config.yaml", listeners=[print])  # type: ignore[list-item]
