"""Training a config, or resuming a run."""

import contextlib
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from transformer import __version__
from transformer.config import (
    MAY_CHANGE_ON_RESUME,
    Config,
    Overrides,
    Sections,
    as_config,
    load_config,
    override_config,
)
from transformer.data.corpus import describe
from transformer.data.prepare import prepare
from transformer.data.prepared import Prepared
from transformer.errors import UserError
from transformer.model.build import ModelBuilder
from transformer.run.directory import RunDirectory
from transformer.run.manifest import check_config, check_data, check_directory, environment, write_run
from transformer.run.run import Run
from transformer.runtime.device import choose_device, choose_precision, configured_process, precision_name
from transformer.runtime.distributed import Processes, join_processes
from transformer.runtime.files import locked
from transformer.runtime.records import JsonLines, RecordListener, TensorBoard
from transformer.runtime.reporting import LoggingReporter, Narrator, Reporter, SilentReporter, clock
from transformer.tasks.assembly import OwnParts, build_trainer, probe_micro_batches
from transformer.tasks.preflight import preflight
from transformer.tasks.run_card import write_card
from transformer.tasks.verify import record_verification
from transformer.training.objective import BuildObjective, build_objective
from transformer.training.schedule import depends_on_max_updates, nearest_limit
from transformer.training.trainer import Outcome, Trainer


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        run: the run, with its best checkpoint.
        outcome: how training ended: `reason`, the `best` validation metric, and the `signal` that stopped it.
    """

    run: Run
    outcome: Outcome


def train(
    config: Config | Sections | str | Path,
    overrides: Overrides = (),
    *,
    model: ModelBuilder | None = None,
    objective: BuildObjective | None = None,
    listeners: Sequence[RecordListener] = (),
    reporter: Reporter | None = None,
) -> TrainingResult:
    """Prepare the data and train a config, or resume a run exactly from its newest checkpoint.

    Meanwhile the process has the threads, matrix precision and allocator that train fastest; threads and precision are
    restored afterwards. PyTorch's random generator is left as the last update seeded it.

    Args:
        config, overrides, reporter: see `transformer.tasks`.
        model: builds the model instead of this project's `build_model`: (options, source vocabulary, target vocabulary,
            padding id) → `Transformer`. Open the result with `Run(directory, build=model)`.
        objective: builds what is minimised: (model, options, dtype of matrix products) → a module that maps the fields
            of a batch to `LossSums`, see `training.objective`.
        listeners: receive each record (`kind` train, validation or fault), besides the run's own `metrics.jsonl`.

    Raises:
        UserError: if anything is missing, damaged or inconsistent; the message names it.
    """
    reporter = reporter or LoggingReporter()
    for listener in listeners:
        if not all(callable(getattr(listener, name, None)) for name in ("record", "forget_after", "close")):
            raise TypeError(f"listener {listener!r}: needs the methods record, forget_after and close")
    stored, parsed = _parsed(config, overrides)
    parts = OwnParts(model, objective or build_objective, listeners)
    device, options = choose_device(parsed.run.device), parsed.run
    with (
        join_processes(device, options.stall_minutes) as processes,
        configured_process(options.threads, device, training=True, local_processes=processes.local_size),
    ):
        speaker = reporter if processes.is_main else SilentReporter()
        training = _Training(parsed, device, processes, parts, speaker)
        if not processes.is_main:
            processes.wait()  # for the main one to write the run
            return training.result(training.fit(training.prepare()))
        check_run(training.directory, parsed, stored)
        prepared = training.prepare()
        with locked(training.directory.path):
            training.write_run(prepared)
            processes.wait()
            result = training.result(training.fit(prepared))
            _describe_run(result, reporter)
            return result


def _describe_run(result: TrainingResult, reporter: Reporter) -> None:
    """Write the run's card, and translations for `transformer verify`; a failure is a warning."""
    if result.outcome.signal is None:
        try:
            record_verification(result.run)
        except UserError as error:
            reporter.warning(f"no verification is recorded: {error}")
    write_card(result.run, reporter)


def _parsed(config: Config | Sections | str | Path, overrides: Overrides) -> tuple[Config | None, Config]:
    """The run directory's stored config, if one was given, and the config to train."""
    if not isinstance(config, str | Path) or not Path(config).is_dir():
        return None, as_config(config, overrides)
    stored = load_config(config)
    # the run may have moved since its config was written
    here = {"run": {"directory": str(config)}}
    return stored, override_config(override_config(stored, overrides), here)


@dataclass(frozen=True)
class _Training:
    """What the steps of a training share."""

    config: Config
    device: torch.device
    processes: Processes
    parts: OwnParts
    reporter: Reporter

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(Path(self.config.run.directory))

    @property
    def precision(self) -> torch.dtype:
        return choose_precision(self.config.training.precision, self.device)

    def prepare(self) -> Prepared:
        """The run's data, encoded with its own tokenizer if training has begun."""
        own = self.directory.tokenizer if self.directory.updates() else None
        return prepare(self.config, self.reporter, own)

    def write_run(self, prepared: Prepared) -> None:
        """Write the run's config, tokenizers and manifest, if its data are still those it began with."""
        data = prepared.manifest | {"guard": [describe(corpus) for corpus in self.config.data.guard]}
        check_data(self.directory, prepared.directory, data)
        where = environment(self.device, self.precision, self.processes)
        manifest = {"transformer": __version__, "seed": self.config.run.seed, "environment": where, "data": data}
        write_run(self.directory, self.config, (prepared.source_tokenizer, prepared.target_tokenizer), manifest)

    def fit(self, prepared: Prepared) -> Outcome:
        """Build or restore the model, and train it."""
        config, processes, say = self.config, self.processes, self.reporter.info
        trainer = build_trainer(config, self.directory, prepared, self.device, processes, self.reporter, self.parts)
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        threads, precision = torch.get_num_threads(), precision_name(self.precision)
        say(f"model: {parameters:,} parameters; {self.device.type}, {threads} threads, {precision}")
        if processes.size > 1:
            share = "the whole model" if config.training.sharding == "none" else "a part of the model"
            say(f"{processes.size} processes, each with {share}")
        if processes.is_main:
            narrator = Narrator(self.reporter, config.training.max_updates, trainer.state.update)
            log = JsonLines(self.directory.metrics)
            log.forget_after(trainer.state.update)
            board = TensorBoard(self.directory.tensorboard, trainer.state.update) if config.run.tensorboard else None
            trainer.listeners = [log, *([board] if board else []), *self.parts.listeners, narrator]
            trainer.advance = narrator.progress.advance
        with contextlib.ExitStack() as stack:  # each is closed, whatever another one raises
            for listener in trainer.listeners:
                stack.callback(listener.close)
            if config.training.micro_batch_tokens == "auto" and self.device.type == "cuda":
                probe_micro_batches(trainer, prepared, self.reporter)
            preflight(trainer, prepared, self.reporter)
            outcome = trainer.fit()
        say(in_words(outcome, trainer))
        return outcome

    def result(self, outcome: Outcome) -> TrainingResult:
        """The trained run; nothing is read again."""
        return TrainingResult(Run(self.directory.path, build=self.parts.model, stored_config=self.config), outcome)


def check_run(run: RunDirectory, config: Config, stored: Config | None = None) -> None:
    """Refuse a directory that holds anything but this run; `stored` is the content of its `config.yaml`, if already
    known."""
    check_directory(run)
    if not run.updates():  # nothing is lost with another config, as after a refusal that asked for one
        return
    stored = stored or load_config(run.path)
    may_change, more = set(MAY_CHANGE_ON_RESUME), ""
    if any(depends_on_max_updates(each.training, max(run.updates())) for each in (stored, config)):
        may_change.discard("training.max_updates")
        if stored.training.max_updates != config.training.max_updates:
            more = f"and the schedule {config.training.schedule} so far depends on max_updates"
    check_config(run, stored, config, may_change, more)


def in_words(outcome: Outcome, trainer: Trainer) -> str:
    state, config, path = trainer.state, trainer.config, trainer.run.path
    if outcome.signal is not None:
        name = signal.Signals(outcome.signal).name
        if not state.update:
            return f"{name}: stopped before the first update; nothing to save"
        return f"{name}: update {state.update:,} is saved; resume with: transformer train {path}"
    limit = f"{nearest_limit(config, state)} reached"
    why = limit if outcome.reason == "limit" else "validation.patience is at its end"
    best = f"; best {config.validation.metric} {outcome.best:.2f}" if outcome.best is not None else ""
    if state.guard_at_start is not None and state.guard_at_best is not None:
        change = state.guard_at_best - state.guard_at_start
        best += f"; guard BLEU {state.guard_at_best:.2f}, {change:+.2f} since the start"
    return f"done ({why}) after {state.update:,} updates in {clock(state.seconds)}{best}: {path}"
