"""Small valid files of every kind that the package reads, for the fuzzer to change."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

from transformer.config import Config, load_config
from transformer.data.dataset import CorpusWriter
from transformer.data.tokenizer import PAD, Tokenizer, save_tokenizers, train_tokenizer
from transformer.decoding.speed.shortlist import SHORTLIST_FILE, Shortlist
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.run.calibration import CONFIDENCE_FILE, Calibration
from transformer.run.directory import RunDirectory
from transformer.run.evaluations import new_evaluation, write_evaluation
from transformer.run.state import TrainingState, model_tensors, optimizer_tensors
from transformer.run.store import write_checkpoint
from transformer.training.optimizer import build_optimizer

UPDATE = 20
PAIRS = [("der Hund sieht das Haus", "the dog sees that house"), ("die Katze, ½ groß", "those cats"), ("ja", "yes 好")]

_CONFIG = """
run: {directory: RUN, threads: 1, device: cpu}
data:
  source_language: de
  target_language: en
  train: {source: train.de, target: train.en}
  validation: [{table: validation.tsv, source_field: 1, target_field: 2}]
tokenizer: {vocab_size: 290}
model: {d_model: 16, d_ff: 32, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1, norm: pre}
training: {max_updates: 60, schedule: constant, learning_rate: 0.01, betas: [0.9, 0.98], micro_batch_tokens: null}
decoding: {beam_size: 2, masked_heads: ["cross.0.1"]}
"""


@dataclass(frozen=True)
class Material:
    """Valid files.

    Attributes:
        run: a complete run directory with one checkpoint; tokenizer, config and model are this run's.
        files: content of each kind of file, by the kind's name.
    """

    run: RunDirectory
    tokenizer: Tokenizer
    config: Config
    model: Transformer
    files: dict[str, bytes]


def make_material(folder: Path) -> Material:
    """Write a run into `folder`, and a file of every kind."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my.yaml").write_text(_CONFIG.replace("RUN", str(folder / "run")))
    config, run = load_config(folder / "my.yaml"), RunDirectory(folder / "run")
    sentences = [sentence for pair in PAIRS for sentence in pair] * 40
    with contextlib.redirect_stderr(io.StringIO()):
        tokenizer, plain = (
            train_tokenizer(config.tokenizer.model_copy(update={"normalization": rule}), iter(sentences), threads=1)
            for rule in ("nmt_nfkc", "identity")
        )
    torch.manual_seed(1)
    size = tokenizer.vocab_size
    model = build_model(config.model, size, size, PAD)
    optimizer = build_optimizer(model, config.training)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_tokenizers(run.tokenizer, tokenizer, tokenizer)
    run.config.write_bytes((folder / "my.yaml").read_bytes())
    state = TrainingState(update=UPDATE, best_value=1.5, best_update=UPDATE, interval={"loss": 2.5})
    write_checkpoint(run.checkpoint(UPDATE), model_tensors(model), optimizer_tensors(model, optimizer), state.to_json())
    run.point("best", UPDATE)
    run.metrics.write_text("".join(json.dumps({"kind": "train", "update": n, "loss": 1 / n}) + "\n" for n in (1, 9)))
    Shortlist(np.full((size, 3), 9, np.int32), np.arange(4, 8, dtype=np.int32)).write(run.path)
    Calibration("a" * 64, [-2.5, -1.0, -0.25], [20.0, 50.5, 90.0], "validation", 100).write(run.path)
    _write_evaluation(run)
    files = {"config.yaml": (folder / "my.yaml").read_bytes()} | _run_files(run) | _corpus_files(folder)
    return Material(run, tokenizer, config, model, files | {"identity.model": plain.model})


def _write_evaluation(run: RunDirectory) -> None:
    """Write the manifest and the evaluation that a report reads besides the metrics."""
    count = {"read": 3, "kept": 3, "source_tokens": 9, "target_tokens": 9}
    hashes = {"train": [{"source": "a" * 64}], "validation": [{"table": "b" * 64}]}
    data = {"counts": {"train": count}, "inputs": {"corpora": hashes}, "tokenizer_sha256": ["c" * 64]}
    run.manifest.write_text(json.dumps({"transformer": "0", "seed": 1, "environment": {"device": "cpu"}, "data": data}))
    sources, targets = [source for source, _ in PAIRS], [target for _, target in PAIRS]
    scores = [{"name": "BLEU", "value": 1.5, "signature": "nrefs:1", "bootstrap_mean": 1.5, "bootstrap_half_width": 1}]
    facts = {"transformer": "0", "corpus": "test", "checkpoint": "best", "decoding": {"beam_size": 2}, "scores": scores}
    write_evaluation(run.evaluations, new_evaluation(sources, targets, targets[::-1], name="evaluation", **facts))


def _run_files(run: RunDirectory) -> dict[str, bytes]:
    checkpoint = run.checkpoint(UPDATE)
    paths = [
        *(run.metrics, run.manifest, run.path / "best", run.path / SHORTLIST_FILE, run.path / CONFIDENCE_FILE),
        *checkpoint.iterdir(),
        *run.evaluations.iterdir(),
    ]
    return {path.name: path.read_bytes() for path in paths} | {
        "shared.model": (run.tokenizer / "shared.model").read_bytes()
    }


def _corpus_files(folder: Path) -> dict[str, bytes]:
    text = "".join(f"{source}\n" for source, _ in PAIRS).encode()
    rows = "".join(f"{source}\t{target}\n" for source, target in PAIRS).encode()
    records = [{"translation": {"de": source, "en": target}, "id": n} for n, (source, target) in enumerate(PAIRS)]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    pyarrow.parquet.write_table(pa.Table.from_pylist(records), folder / "corpus.parquet")
    writer = CorpusWriter(folder / "train.arrow")
    writer.write([[4, 5], [6]], [[7], [8, 9]])
    writer.close()
    return {
        "text": text,
        "text.gz": gzip.compress(text, mtime=0),
        "corpus.tsv": rows,
        "corpus.tsv.gz": gzip.compress(rows, mtime=0),
        "corpus.jsonl": lines,
        "corpus.parquet": (folder / "corpus.parquet").read_bytes(),
        "train.arrow": (folder / "train.arrow").read_bytes(),
        "gold.align": b"0-0 1p2 3-4\n\n2-2\n",
    }
