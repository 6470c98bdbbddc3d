"""A training of seconds on a corpus that is made up: whether this machine trains and translates at all."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer.config import parse_config
from transformer.runtime.records import read_records
from transformer.runtime.reporting import SilentReporter
from transformer.tasks.train import train
from transformer.tasks.translators import load_translator

# a language of which each word has one translation, in the same place
WORDS = {
    **{"der": "the", "die": "those", "das": "that", "ein": "a", "Hund": "dog", "Katze": "cat", "Haus": "house"},
    **{"Baum": "tree", "rot": "red", "blau": "blue", "groß": "big", "klein": "small", "sieht": "sees", "hat": "has"},
}
_CONFIG = """
run: {directory: run}
data:
  source_language: de
  target_language: en
  prepared_directory: prepared
  train: {source: train.de, target: train.en}
  validation: {source: validation.de, target: validation.en}
tokenizer: {vocab_size: 300, normalization: identity}
model: {d_model: 32, d_ff: 64, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, norm: pre, dropout: 0.0}
training:
  max_updates: 200
  max_minutes: 0.17
  batch_tokens: 256
  schedule: constant
  learning_rate: 0.01
  warmup_updates: 1
  log_every: 1
  keep_checkpoints: 1
  average_checkpoints: 0
validation: {every: 200}
"""


@dataclass(frozen=True)
class Smoke:
    """What a smoke training gave.

    Attributes:
        updates: how many.
        seconds: of them, validation included.
        first_loss, last_loss: label-smoothed, a target token, of the first and the last update.
        source, translation: a sentence, and what the trained model makes of it.
    """

    updates: int
    seconds: float
    first_loss: float
    last_loss: float
    source: str
    translation: str


def smoke_training(directory: Path, overrides: Sequence[str] = ()) -> Smoke:
    """Make a corpus, train a tiny model on it for at most ten seconds, and translate one sentence.

    Args:
        directory: an empty folder.
        overrides: `section.key=value`, over the tiny config.

    Raises:
        UserError: where training refuses.
    """
    draw = random.Random(1)
    paths = {"run.directory": "run", "data.prepared_directory": "prepared"}
    for split, pairs in (("train", 400), ("validation", 12)):
        write_corpus(directory / split, draw, pairs)
        sides = {"source": str(directory / f"{split}.de"), "target": str(directory / f"{split}.en")}
        overrides = [*overrides, f"data.{split}={json.dumps(sides)}"]
    places = [f"{key}={json.dumps(str(directory / name))}" for key, name in paths.items()]
    config = parse_config(_CONFIG, "smoke training", [*overrides, *places])
    silent = SilentReporter()  # its narration is that of a run, which this is not
    run = train(config, reporter=silent).run
    records = read_records(run.directory.metrics)
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    source = (directory / "validation.de").read_text("utf-8").splitlines()[0]
    (translation,) = load_translator(run, silent).translate([source])
    return Smoke(records[-1]["update"], records[-1]["seconds"], losses[0], losses[-1], source, translation)


def write_corpus(path: Path, draw: random.Random, pairs: int) -> None:
    """Write sentences of two to seven words into `path`.de and their translations into `path`.en."""
    sentences = [draw.choices(sorted(WORDS), k=draw.randint(2, 7)) for _ in range(pairs)]
    translations = [[WORDS[word] for word in words] for words in sentences]
    for side, lines in (("de", sentences), ("en", translations)):
        path.with_suffix(f".{side}").write_text("".join(" ".join(words) + "\n" for words in lines), "utf-8")
