"""A tiny corpus, and trainers over it that use everything real but the validation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from transformer.config import Config, parse_config
from transformer.data.batching import Batching, Position, UpdateStream
from transformer.data.dataset import CorpusWriter, EncodedCorpus
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.run.directory import RunDirectory
from transformer.run.state import TrainedModel, TrainingState
from transformer.runtime.distributed import Processes
from transformer.runtime.records import Record
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.methods.weight_average import build_weight_average
from transformer.training.objective import BuildObjective, build_objective
from transformer.training.optimizer import build_optimizer
from transformer.training.selection import Selection, Validate
from transformer.training.trainer import Trainer
from transformer.training.updater import Updater

VOCABULARY = 24
CONFIG = """
run: {directory: unused, seed: 3}
data:
  source_language: de
  target_language: en
  train: {source: unused, target: unused}
  validation: {source: unused, target: unused}
  bucket_window: 3
model: {d_model: 16, d_ff: 24, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, dropout: 0.0}
training:
  max_updates: 6
  batch_tokens: 40
  warmup_updates: 4
  precision: fp32
  log_every: 2
  average_checkpoints: 0
validation: {every: 2, metric: loss}
"""


class Records(list[Record]):
    """Keeps what the trainer tells."""

    def record(self, record: Record) -> None:
        self.append(record)

    def forget_after(self, update: int) -> None:
        """Keeps them: tests look at what was told."""

    def of(self, kind: str) -> list[Record]:
        return [record for record in self if record["kind"] == kind]

    def validated(self) -> list[object]:
        """The updates at which there was a validation."""
        return [record["update"] for record in self.of("validation")]


class Scripted:
    """A validation that gives values from a list, the last one for ever, and counts how often it was asked."""

    def __init__(self, *values: float, metric: str = "loss") -> None:
        self.values = values
        self.metric = metric
        self.asked = 0

    def __call__(self, model: Transformer) -> Mapping[str, float]:
        assert not model.training, "the model is not in evaluation mode"
        value = self.values[min(self.asked, len(self.values) - 1)]
        self.asked += 1
        return {self.metric: value}


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    """40 pairs of 1 to 9 tokens a side: about six updates an epoch."""
    path = tmp_path_factory.mktemp("corpus") / "train.arrow"
    draw = random.Random(1)
    sides = [[draw.choices(range(4, VOCABULARY), k=draw.randint(1, 9)) for _ in range(40)] for _ in range(2)]
    writer = CorpusWriter(path)
    writer.write(*sides)
    writer.close()
    return EncodedCorpus(path)


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """The tiny config with `section.key=value` overrides."""
    return lambda *overrides: parse_config(CONFIG, "config", overrides)


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(tmp_path: Path, corpus: EncodedCorpus, make_config: Callable[..., Config]) -> MakeTrainer:
    """Builds a trainer in `tmp_path / directory`; it goes on where checkpoints are."""

    def make(
        *overrides: str,
        directory: str = "run",
        validate: Validate | None = None,
        seed: int = 7,
        advance: Callable[[], None] = lambda: None,
        build_objective: BuildObjective = build_objective,
    ) -> Trainer:
        config = make_config(*overrides)
        torch.manual_seed(seed)
        model = build_model(config.model, VOCABULARY, VOCABULARY, pad_id=0)
        options = config.training
        optimizer, average = build_optimizer(model, options), build_weight_average(model, options)
        trained = TrainedModel(model, optimizer, None if average is None else average.weights)
        run = RunDirectory(tmp_path / directory)
        checkpoints = TrainingCheckpoints(run, trained, config.checkpoint_every, options.keep_checkpoints)
        evaluated = model if average is None else build_model(config.model, VOCABULARY, VOCABULARY, pad_id=0)
        state = checkpoints.restore() or TrainingState()
        seed, window = config.run.seed, config.data.bucket_window
        batching = Batching(options.batch_tokens, options.known_micro_batch_tokens, window, seed)
        stream = UpdateStream(corpus, batching, Position(state.epoch, state.batch))
        objective, cpu = build_objective(model, options, torch.float32), torch.device("cpu")
        updater = Updater(objective, optimizer, options.max_gradient_norm, seed, Processes(), cpu, average)
        selection = Selection(config, checkpoints, validate or Scripted(1.0), evaluated)
        return Trainer(config, updater, stream, checkpoints, state, selection, [Records()], advance)

    return make
