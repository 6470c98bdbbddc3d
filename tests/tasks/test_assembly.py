"""A trainer put together from a config, and from a researcher's own parts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from transformer.config import ModelSection, TrainingSection, load_config
from transformer.data.prepare import prepare
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.run.directory import RunDirectory
from transformer.runtime.distributed import Processes
from transformer.runtime.records import Record
from transformer.tasks.assembly import build_trainer
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

    losses = {}
    for name, parts in {"given": {}, "own": {"build_model": own_model, "build_objective": doubled}}.items():
        options = ["training.max_updates=2", "training.log_every=1", "validation.every=2", "validation.max_sentences=0"]
        options += ["validation.metric=loss", "training.precision=fp32", f"run.directory={tmp_path / name}"]
        config, heard = load_config(tiny_project / "config.yaml", options), Records()
        prepared = prepare(config, lambda text: None)
        run = RunDirectory(tmp_path / name)
        trainer = build_trainer(
            *(config, run, prepared, torch.device("cpu"), Processes(), lambda text: None), listeners=[heard], **parts
        )
        trainer.fit()
        losses[name] = [record["loss"] for record in heard if record["kind"] == "train"]
    assert trainer.model is built[0]
    assert losses["own"][0] == 2 * losses["given"][0]  # before the first update the weights are the same
