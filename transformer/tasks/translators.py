"""What several verbs do to get a model on its device."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from transformer.config import Config, DecodingSection, is_override, load_config, override_config
from transformer.data.corpus import read_lines
from transformer.decoding.candidates.reranking import MinimumBayesRisk, NoisyChannel, Rerank
from transformer.decoding.inspection.heads import mask_heads
from transformer.decoding.speed.prepack import prepack, prepack_int8
from transformer.decoding.speed.shortlist import read_shortlist
from transformer.decoding.translator import Translator
from transformer.errors import UserError, printable
from transformer.model.transformer import Transformer
from transformer.run.directory import RunDirectory, run_of, split_checkpoint
from transformer.run.loading import LoadedModel, load_model
from transformer.runtime.device import choose_device, choose_precision, configure_process


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def run_config(run: str | Path, overrides: Sequence[str]) -> Config:
    """The config of a run (or of the run that a checkpoint directory belongs to), with overrides that still make sense.

    Raises:
        UserError: where an override would change what the run was trained with.
    """
    for override in overrides:
        if is_override(override) and override.split(".", 1)[0] not in {"run", "decoding", "data"}:
            raise UserError(f"{override}: a trained run cannot change this; only run.*, data.* and decoding.* can")
    return override_config(load_config(run_of(run)), overrides)


def checkpoint_of(run: str | Path, which: str) -> tuple[RunDirectory, Path]:
    """The run and the checkpoint directory that a run directory, or one of its checkpoints, names.

    Args:
        run: either of them.
        which: of a run directory's checkpoints, as in `decoding.checkpoint`.
    """
    path, name = split_checkpoint(Path(run))
    directory = RunDirectory(path)
    return directory, directory.checkpoint(name) if name else directory.resolve(which)


def pinned(run: str | Path, overrides: Sequence[str]) -> list[str]:
    """The overrides, with the checkpoint that they mean by its own name: a training may move `best` meanwhile."""
    which = run_config(run, overrides).decoding.checkpoint
    return [*overrides, f"decoding.checkpoint={checkpoint_of(run, which)[1].name}"]


def open_translator(
    run: str | Path, overrides: Sequence[str] = (), use_all_cores: bool = False, alone: bool = False
) -> Translator:
    """Load a run's model onto its device; sets the threads and the allocator of the whole process.

    Args:
        run: a run directory, or one of its checkpoints.
        overrides: `section.key=value`.
        use_all_cores: where `decoding.workers` is empty, one worker for each thread.
        alone: without the other runs, and the shortlist, that its options name: to look at the model itself.
    """
    config = run_config(run, overrides)
    options = config.decoding
    device = choose_device(config.run.device)
    configure_process(config.run.threads, device)
    loaded = load_model(run, options.checkpoint)
    model = loaded.model.to(device)
    if unknown := mask_heads(model, options.masked_heads):
        raise UserError(
            f"decoding.masked_heads: this model has no {', '.join(unknown)}; transformer heads RUN lists them"
        )
    others = [] if alone else [_member(path, loaded).to(device) for path in options.ensemble]
    for each in (model, *others):
        freeze_weights(each, options.precision)
    tokenizers = loaded.source_tokenizer, loaded.target_tokenizer
    shortlist = None
    if options.shortlist and not alone:
        shortlist = read_shortlist(run_of(run), *(tokenizer.vocab_size for tokenizer in tokenizers))
    if use_all_cores and options.workers is None:
        options = options.model_copy(update={"workers": torch.get_num_threads()})
    rerank = None if alone else _reranker(config, loaded, device)
    return Translator(model, *tokenizers, options, warn=say, shortlist=shortlist, others=others, rerank=rerank)


def _reranker(config: Config, loaded: LoadedModel, device: torch.device) -> Rerank | None:
    """What `decoding.rerank` asks for."""
    options = config.decoding
    if options.rerank == "mbr":
        from transformer.evaluation.sentence_metrics import sentence_metric  # sacreBLEU: only when it is wanted

        utility = sentence_metric(options.mbr_utility, config.data.target_language)
        return MinimumBayesRisk(loaded.target_tokenizer, utility, sampled=options.method == "sample")
    if options.reverse is None:
        return None
    say(f"decoding.reverse: {options.reverse}")
    other = load_model(options.reverse)
    theirs = other.config.data.source_language, other.config.data.target_language
    ours = config.data.source_language, config.data.target_language
    if theirs != ours[::-1]:
        raise UserError(
            f"decoding.reverse: {options.reverse} translates from {theirs[0]} to {theirs[1]}; "
            f"give a run from {ours[1]} to {ours[0]}"
        )
    model = other.model.to(device)
    freeze_weights(model, options.precision)
    limits = {name: getattr(options, name) for name in ("batch_size", "batch_tokens", "max_source_length")}
    reverse = Translator(model, other.source_tokenizer, other.target_tokenizer, DecodingSection(**limits))

    def log_probs(translations: Sequence[str], sources: Sequence[str]) -> list[float]:
        return [scored.log_prob for scored in reverse.score(translations, sources)]

    tokenizers = loaded.source_tokenizer, loaded.target_tokenizer
    return NoisyChannel(*tokenizers, log_probs, options.channel_weight, options.length_weight)


def _member(path: str, loaded: LoadedModel) -> Transformer:
    """A model that translates together with another.

    Raises:
        UserError: where its tokenizer or its languages are others.
    """
    say(f"decoding.ensemble: {path}")  # a run of a stranger's may name whatever it likes
    other = load_model(path)
    ours, theirs = ((run.config.data.source_language, run.config.data.target_language) for run in (loaded, other))
    if ours != theirs:
        raise UserError(
            f"decoding.ensemble: {path} translates from {theirs[0]} to {theirs[1]}, and this run from {ours[0]} to "
            f"{ours[1]}; leave it out"
        )
    if other.tokenizer_hashes != loaded.tokenizer_hashes:
        raise UserError(
            f"decoding.ensemble: {path} has another tokenizer than this run; runs translate together that were trained "
            "with one tokenizer (tokenizer.source_model=RUN/tokenizer/shared.model)"
        )
    return other.model


def described(options: DecodingSection) -> str:
    """How translations are found, in a few words."""
    by = f", {len(options.ensemble) + 1} models" if options.ensemble else ""
    by += f", {options.rerank} among {options.num_candidates}" if options.rerank != "none" else ""
    if options.method == "beam":
        return f"beam {options.beam_size}{by}"
    rules = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "epsilon")}
    rules = {name: value for name, value in rules.items() if value not in (None, 1.0)}
    return ", ".join(["sampling", *(f"{name} {value}" for name, value in rules.items()), f"seed {options.seed}"]) + by


def read_matching_lines(*paths: str) -> list[list[str]]:
    """The lines of several files.

    Raises:
        UserError: where one has not as many as the first.
    """
    first, *others = paths
    read = [list(read_lines(Path(path))) for path in paths]
    for path, lines in zip(others, read[1:], strict=True):
        check_counts(first, len(read[0]), path, len(lines))
    return read


def check_counts(first: str, first_count: int, second: str, second_count: int) -> None:
    """Refuse files that are to be read side by side and have different numbers of lines."""
    if first_count != second_count:
        counts = f"{first_count} lines and {second} has {second_count}"
        raise UserError(f"{first} has {counts}; they must match line by line")


def freeze_weights(model: Transformer, precision: str) -> None:
    """Bring a model on its device to `decoding.precision`, laid out for decoding and nothing else."""
    if precision == "int8":
        prepack_int8(model)
    else:
        model.to(choose_precision(precision, model.device))
        prepack(model)
