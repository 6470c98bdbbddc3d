"""Train the tiny run that all later releases must read and translate with: a run directory, its corpus, and its lines.

    python scripts/lab/make_golden.py tests/golden/format_1

Run once per checkpoint format (`transformer/run/store.py`), by the release that writes it. The result stays in the
repository and is never regenerated. It only has sentences whose translations survive an error of about a thousandth in
every weight; rounding differs far less between processors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from transformer import load
from transformer.__main__ import main as command
from transformer.data.corpus import read_lines
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line
from transformer.tasks.doctor import write_corpus

CONFIG = """\
run: {directory: run, threads: 1, device: cpu}
data:
  source_language: de
  target_language: en
  train: {source: corpus/train.de, target: corpus/train.en}
  validation: {source: corpus/validation.de, target: corpus/validation.en}
tokenizer: {vocab_size: 300, normalization: identity}
model: {d_model: 16, d_ff: 32, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, norm: pre, dropout: 0.0}
training:
  max_updates: 800
  batch_tokens: 256
  schedule: constant
  learning_rate: 0.01
  warmup_updates: 50
  precision: fp32
  log_every: 200
  keep_checkpoints: 1
  average_checkpoints: 0
validation: {every: 800}
"""
SEARCHES = {"greedy": "decoding.beam_size=1", "beam": "decoding.beam_size=4"}
SENTENCES, TRIALS, OFF_BY = 20, 8, 1e-3


@refusals_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--seed", type=int, default=1, help="seed for the corpus (default: 1)")
    options = parser.parse_args(arguments)
    if options.directory.exists():
        raise UserError(f"{options.directory}: exists already; the golden run of a release is never regenerated")
    options.directory.mkdir(parents=True)
    with contextlib.chdir(options.directory):  # so the run names its corpus by a relative path
        make_golden(options.seed)
    return 0


def make_golden(seed: int) -> None:
    """Fill the current directory.

    Raises:
        UserError: training fails, or too few sentences have stable translations.
    """
    draw = random.Random(seed)
    Path("corpus").mkdir()
    for split, pairs in (("train", 400), ("validation", 12), ("candidates", 5 * SENTENCES)):
        write_corpus(Path("corpus") / split, draw, pairs)
    Path("config.yaml").write_text(CONFIG, "utf-8")
    if command(["train", "config.yaml"]):
        raise UserError("training failed")
    recorded = json.loads(Path("run", "verification.json").read_bytes())["sources"]
    if sure_sentences(recorded) != recorded:
        raise UserError("the run's own verification is not stable; give another --seed")
    sure = sure_sentences(list(read_lines(Path("corpus", "candidates.de"))))[:SENTENCES]
    if len(sure) < SENTENCES:
        raise UserError(f"only {len(sure)} of {5 * SENTENCES} sentences are stable; give another --seed")
    write_lines(Path("source"), sure)
    for search, option in SEARCHES.items():
        write_lines(Path(search), load("run", option).translate(sure))
    for temporary in (*Path("corpus").glob("candidates.*"), Path("config.yaml"), Path("run", ".lock")):
        temporary.unlink()
    shutil.rmtree("data")  # the prepared corpus


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), "utf-8")


def sure_sentences(sentences: list[str]) -> list[str]:
    """The sentences whose translations stay the same when the weights are slightly off, under each search."""
    sure = set(range(len(sentences)))
    for option in SEARCHES.values():
        expected = load("run", option).translate(sentences)
        for seed in range(TRIALS):
            found = disturbed(load("run", option), seed).translate(sentences)
            sure = {number for number in sure if found[number] == expected[number]}
    return [sentences[number] for number in sorted(sure)]


def disturbed(translator: Translator, seed: int) -> Translator:
    """The same translator, with each weight off by about a thousandth."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in translator.model.parameters():
            weight.mul_(1 + OFF_BY * torch.randn(weight.shape, generator=generator))
    return translator


if __name__ == "__main__":
    sys.exit(main())
