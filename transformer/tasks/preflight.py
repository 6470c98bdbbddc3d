"""Checks before the first update, in seconds, of everything that a run would otherwise fail on hours later."""

import math
import os
import shutil
import time

import numpy as np
import torch

from transformer.data.batch import Batch, collate
from transformer.data.batching import UpdateStream, split_update
from transformer.data.dataset import EncodedPairs
from transformer.data.prepared import Prepared
from transformer.errors import UserError, is_out_of_memory
from transformer.run.store import read_checkpoint, write_checkpoint
from transformer.runtime.memory import available_memory, bytes_in_words
from transformer.runtime.reporting import Reporter
from transformer.tasks.validation import Validation
from transformer.training.machine.compilation import uncompiled
from transformer.training.machine.probe import Trial, try_batch
from transformer.training.trainer import Trainer

_PART = 8  # on a CPU an eighth of the longest batch is tried first
_SECONDS = 20.0  # then the whole batch, if it takes no longer than this
_NUMBERS_OF_A_WEIGHT = 3  # itself, or its gradient, and Adam's two moments
_BYTES = 4  # of a number in fp32
_SPELLED_SHARE = 0.05  # of tokens without a piece of their own: more than a rare name here and there
_ROWS = 10_000  # validation pairs that are looked at


def preflight(trainer: Trainer, prepared: Prepared, reporter: Reporter) -> None:
    """Check what the run will need, and report the findings in one line; leaves weights and optimizer unchanged.

    Only the job's main process does it. Does nothing with `run.preflight: false`, or if no update is left to do.

    Raises:
        UserError: for too little memory or disk, a checkpoint that reads back differently, and any error of validation;
            the message says what to change.
    """
    if not trainer.config.run.preflight or trainer.finished() or not trainer.processes.is_main:
        return
    start = time.perf_counter()
    found = [check_disk(trainer), check_tokenizer(prepared, reporter)]
    if trainer.checkpoints.trained.sharded:
        found.append("batch, validation and checkpoint not tried, as the model is sharded")
    else:
        found += [check_memory(trainer), check_validation(trainer, prepared), check_checkpoint(trainer)]
    reporter.info(f"preflight: {'; '.join(found)}; {time.perf_counter() - start:.1f} s")


def check_disk(trainer: Trainer) -> str:
    """Compare the free disk space with the most that the run will use at a time; too little is a `UserError`."""
    options, run = trainer.options, trainer.run
    weights = sum(parameter.numel() for parameter in trainer.model.parameters()) * _BYTES
    kept = min(options.keep_checkpoints, math.ceil(options.max_updates / trainer.checkpoints.every))
    # besides the regular ones: the best, and the newest while the oldest is not deleted yet
    numbers = _NUMBERS_OF_A_WEIGHT + (trainer.checkpoints.trained.average is not None)
    kept += options.average_checkpoints if options.average_of == "best" else 0
    needed = (kept + 2) * weights * numbers + (weights if options.average_checkpoints > 1 else 0)
    written = sum(file.stat().st_size for file in run.checkpoints.glob("*/*")) if run.checkpoints.is_dir() else 0
    free = shutil.disk_usage(run.path).free
    if needed - written > free:
        raise UserError(
            f"run.directory={run.path}: {bytes_in_words(free)} of disk are free, and the checkpoints will take "
            f"{bytes_in_words(needed - written)}; free space, name a directory on another disk, or lower "
            f"training.keep_checkpoints={options.keep_checkpoints}"
        )
    return f"{bytes_in_words(free)} of disk free, {bytes_in_words(max(0, needed - written))} needed"


def check_tokenizer(prepared: Prepared, reporter: Reporter) -> str:
    """Measure how much of the validation corpus the tokenizer lacks pieces for, and warn if it is much."""
    corpus = prepared.corpus("validation")
    rows = range(min(len(corpus), _ROWS))
    shares = {}
    for side, tokenizer, ids in (
        ("source", prepared.source_tokenizer, corpus.sources(rows)),
        ("target", prepared.target_tokenizer, corpus.targets(rows)),
    ):
        shares[side] = float(np.isin(np.concatenate(ids), tokenizer.spelled_ids()).mean())
        if shares[side] > _SPELLED_SHARE:
            reporter.warning(
                f"{shares[side]:.1%} of the {side} tokens of data.validation are bytes or unknown; raise "
                "tokenizer.character_coverage or tokenizer.vocab_size, or look whether source and target are swapped"
            )
    return "bytes or unknown " + ", ".join(f"{share:.2%} of {side}" for side, share in shares.items())


def check_memory(trainer: Trainer) -> str:
    """Forward and backward of a micro-batch of the longest pairs; if they do not fit into memory, a `UserError`."""
    corpus, rows = longest_of(trainer.stream)
    batch = collate(corpus.sources(rows), corpus.targets(rows))
    what = f"the longest micro-batch, {len(rows):,} pairs of {_padded_tokens(batch):,} padded tokens a side"
    trainer.model.train()
    if trainer.device.type == "cpu":
        some = rows[: math.ceil(len(rows) / _PART)]
        part = collate(corpus.sources(some), corpus.targets(some))
        times, tried = _tokens(batch) / _tokens(part), _try(trainer, part)
        needed, available = times * tried.saved_bytes + _kept_beside(trainer), available_memory()
        available = None if available is None else available // trainer.processes.local_size
        if available is not None and needed > available:
            fitting = max(1, int(_padded_tokens(batch) * available / needed / 2))
            raise UserError(
                f"{what}, takes {bytes_in_words(needed)} of memory, and {bytes_in_words(available)} are free; set "
                f"training.micro_batch_tokens={fitting}, or lower model.d_model"
            )
        if times * tried.seconds > _SECONDS:
            return f"a part tried of {what}: it takes {bytes_in_words(needed)} and {times * tried.seconds:.0f} s"
    tried = _try(trainer, batch)
    return f"{what}, takes {bytes_in_words(tried.saved_bytes + _kept_beside(trainer))} and {tried.seconds:.2f} s"


def longest_of(stream: UpdateStream) -> tuple[EncodedPairs, np.ndarray]:
    """A corpus, and the rows of the longest micro-batch of one process, longest first."""
    corpus: EncodedPairs = stream.corpus
    rows = longest_micro_batch(corpus, -(-stream.batching.batch_tokens // stream.size), stream.micro_batch_tokens)
    if stream.sampling is None:
        return corpus, rows
    corpus = stream.sampling(corpus, rows, 0, 0)  # other segmentations are longer
    grown = int(corpus.target_lengths.sum()) + len(rows)
    return corpus, longest_micro_batch(corpus, grown, stream.micro_batch_tokens)


def longest_micro_batch(corpus: EncodedPairs, batch_tokens: int, micro_batch_tokens: int | None) -> np.ndarray:
    """The rows of the longest pairs of a corpus, longest first: as many as fit into one micro-batch, given the target
    tokens of an update and the padded tokens per side of a micro-batch (None for no limit).

    As batches group pairs of similar length, some batch of each epoch comes close to this one, and none is longer."""
    longer = np.maximum(corpus.source_lengths, corpus.target_lengths)
    count = min(len(longer), batch_tokens)  # a pair has at least one target token
    rows = np.argpartition(longer, len(longer) - count)[len(longer) - count :]
    rows = rows[np.argsort(-longer[rows], kind="stable")]
    fit = int(np.searchsorted(np.cumsum(corpus.target_lengths[rows] + 1), batch_tokens, side="right"))
    update = rows[: max(1, fit)]
    return split_update(update, corpus.source_lengths, corpus.target_lengths, micro_batch_tokens)[0]


def check_validation(trainer: Trainer, prepared: Prepared) -> str:
    """A small validation, which fails as a full one would."""
    trainer.model.eval()
    with uncompiled():
        rehearsed = Validation(trainer.config, prepared, trainer.stream).rehearse(trainer.model)
    return f"{rehearsed} validation sentences translated"


def check_checkpoint(trainer: Trainer) -> str:
    """Write a checkpoint into the run directory, read it back, compare, and remove it; a difference is a
    `UserError`."""
    # a name that pruning removes later, should this process be killed
    temporary = trainer.run.path / f".preflight.{os.getpid()}.tmp"
    model, optimizer = trainer.checkpoints.trained.weights(), trainer.checkpoints.trained.optimizer_tensors()
    try:
        write_checkpoint(temporary / "checkpoint", model, optimizer, trainer.state.to_json())
        size = sum(file.stat().st_size for file in temporary.glob("*/*"))
        read = read_checkpoint(temporary / "checkpoint", with_optimizer=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    written, found = {**model, **optimizer}, {**read.model, **read.optimizer}
    same = found.keys() == written.keys() and all(torch.equal(found[name], written[name].cpu()) for name in found)
    if not same:
        raise UserError(
            f"run.directory={trainer.run.path}: a checkpoint written there does not come back as it was; name a "
            "directory on another disk"
        )
    return f"a checkpoint of {bytes_in_words(size)} written and read"


def _try(trainer: Trainer, batch: Batch) -> Trial:
    try:
        return try_batch(trainer.model, trainer.updater.optimizer, trainer.updater.rehearse, batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"the longest pairs of the training corpus do not fit into the memory of {trainer.device}; set "
            f"training.micro_batch_tokens=auto, or a number below {_padded_tokens(batch)}"
        ) from None


def _kept_beside(trainer: Trainer) -> int:
    """Bytes of the gradients, and of the optimizer's moments if it has none yet."""
    new = _NUMBERS_OF_A_WEIGHT if not trainer.updater.optimizer.state else 1
    return new * _BYTES * sum(parameter.numel() for parameter in trainer.model.parameters())


def _padded_tokens(batch: Batch) -> int:
    """Padded tokens of the larger side."""
    return max(batch.source_ids.numel(), batch.labels.numel())


def _tokens(batch: Batch) -> int:
    return batch.num_source_tokens + batch.num_target_tokens
