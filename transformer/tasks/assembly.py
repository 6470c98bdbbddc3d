"""Building a trainer from a config, prepared data and a run directory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from transformer.config import Config
from transformer.data.batching import Batching, Position, UpdateStream
from transformer.data.prepared import Prepared
from transformer.data.subword_sampling import SubwordSampling
from transformer.data.tokenizer import PAD, tokenizer_hashes
from transformer.errors import UserError
from transformer.model.build import ModelBuilder, build_model, model_shapes
from transformer.model.transformer import Transformer
from transformer.run.directory import RunDirectory
from transformer.run.run import BEST, Run
from transformer.run.state import TrainedModel, TrainingState, load_model_tensors, model_tensors
from transformer.run.store import MisfitError
from transformer.runtime.device import choose_precision
from transformer.runtime.distributed import Processes
from transformer.runtime.memory import physical_memory
from transformer.runtime.records import RecordListener
from transformer.runtime.reporting import Reporter
from transformer.runtime.seeding import seed_everything
from transformer.tasks.validation import Validation
from transformer.training.checkpoints import TrainingCheckpoints
from transformer.training.machine.compilation import compile_layers
from transformer.training.machine.parallelize import parallelize
from transformer.training.machine.probe import micro_batch_tokens_that_fit
from transformer.training.methods.weight_average import build_weight_average
from transformer.training.objective import BuildObjective, build_objective
from transformer.training.optimizer import build_optimizer
from transformer.training.selection import Selection
from transformer.training.trainer import Trainer
from transformer.training.updater import Updater

_BYTES = 4  # of a weight in fp32


@dataclass(frozen=True)
class OwnParts:
    """A researcher's replacements for parts of this project.

    Attributes:
        model: builds the model; None for `build_model`.
        objective: builds what is minimised, see `training.objective`.
        listeners: receive each record, besides the run's own.
    """

    model: ModelBuilder | None = None
    objective: BuildObjective = build_objective
    listeners: Sequence[RecordListener] = ()


def build_trainer(
    config: Config,
    run: RunDirectory,
    prepared: Prepared,
    device: torch.device,
    processes: Processes,
    reporter: Reporter,
    parts: OwnParts = OwnParts(),
) -> Trainer:
    """A trainer at the run's newest checkpoint, or at its beginning."""
    seed_everything(config.run.seed)
    source_size, target_size = prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size
    options = config.training
    sharded = options.sharding == "full" and processes.size > 1
    refuse_more_than_memory(model_shapes(config.model, source_size, target_size, PAD, parts.model))
    build = parts.model or build_model
    model = build(config.model, source_size, target_size, PAD).to(device)
    apart = sharded or options.weight_average != "none"  # the validated weights are not the trained ones
    evaluated = build(config.model, source_size, target_size, PAD).to(device) if apart else model
    if options.start_from is not None and not run.updates():
        start_from(options.start_from, model, prepared, parts.model)
        reporter.info(f"weights of {options.start_from}")
    updater = build_updater(config, model, processes, reporter, parts.objective)
    average = None if updater.average is None else updater.average.weights
    trained = TrainedModel(model, updater.optimizer, average, sharded)
    checkpoints = TrainingCheckpoints(
        run, trained, config.checkpoint_every, options.keep_checkpoints, processes, reporter
    )
    state = checkpoints.restore()
    if state is not None:
        reporter.info(f"resuming from update {state.update:,} of {run.path}")
    state = state or TrainingState()
    stream = build_stream(config, prepared, state, processes)
    selection = Selection(config, checkpoints, Validation(config, prepared, stream, processes), evaluated)
    return Trainer(config, updater, stream, checkpoints, state, selection)


def build_updater(
    config: Config,
    model: Transformer,
    processes: Processes,
    reporter: Reporter,
    build_objective: BuildObjective = build_objective,
) -> Updater:
    options, device = config.training, model.device
    if options.compile:
        compile_layers(model, device, reporter)
    precision = choose_precision(options.precision, device)
    objective = parallelize(build_objective(model, options, precision), options.sharding, processes)
    optimizer, average = build_optimizer(model, options), build_weight_average(model, options)
    return Updater(objective, optimizer, options.max_gradient_norm, config.run.seed, processes, device, average)


def build_stream(config: Config, prepared: Prepared, state: TrainingState, processes: Processes) -> UpdateStream:
    """The updates from a run's current position on."""
    options = config.training
    batching = Batching(
        options.batch_tokens, options.known_micro_batch_tokens, config.data.bucket_window, config.run.seed
    )
    place = Position(state.epoch, state.batch)
    strength, sampling = options.subword_sampling, None
    if strength is not None:
        tokenizers = prepared.source_tokenizer, prepared.target_tokenizer
        sampling = SubwordSampling(*tokenizers, strength, config.data.max_length, config.run.seed)
    return UpdateStream(prepared.corpus("train"), batching, place, processes.rank, processes.size, sampling)


def refuse_more_than_memory(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights of these shapes if they exceed this machine's memory."""
    parameters, memory = sum(map(math.prod, shapes.values())), physical_memory()
    if memory is not None and _BYTES * parameters > memory:
        raise UserError(
            f"model: {parameters:,} parameters are {_BYTES * parameters / 1e9:,.0f} GB, and this machine has "
            f"{memory / 1e9:,.0f} GB of memory; lower model.d_model, model.d_ff, the layers or tokenizer.vocab_size"
        )


def start_from(source: str, model: Transformer, prepared: Prepared, build: ModelBuilder | None = None) -> None:
    """Load another run's weights into a model; a different tokenizer or model is a `UserError`."""
    other = Run(source, BEST, build=build)
    if other.tokenizer_hashes != tokenizer_hashes(prepared.source_tokenizer, prepared.target_tokenizer):
        raise UserError(
            f"training.start_from={source}: that run has another tokenizer; give its own as tokenizer.source_model, "
            "e.g. RUN/tokenizer/shared.model"
        )
    try:
        load_model_tensors(model, model_tensors(other.load_model()), other.checkpoint)
    except MisfitError as error:
        first = str(error).split(";")[0]
        raise UserError(f"training.start_from={source}: {first}; give this run that one's model section") from None


def probe_micro_batches(trainer: Trainer, prepared: Prepared, reporter: Reporter) -> None:
    """Find the value for `training.micro_batch_tokens: auto`."""
    config, processes = trainer.config, trainer.processes
    if trainer.checkpoints.trained.sharded:
        raise UserError("training.micro_batch_tokens=auto: one process cannot try a sharded model; give a number")
    found = None
    if processes.is_main:
        found = micro_batch_tokens_that_fit(
            trainer.model,
            trainer.updater.optimizer,
            trainer.updater.rehearse,
            config.training.batch_tokens,
            config.data.max_length,
            token_id=prepared.target_tokenizer.vocab_size - 1,
        )
    trainer.stream.micro_batch_tokens = int(processes.of_main(found or 0)) or None
    reporter.info(f"micro-batches: {found or 'a whole update of'} padded tokens a side fit into memory")
