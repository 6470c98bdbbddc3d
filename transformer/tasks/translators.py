"""A run's translator: its model, and everything else its decoding options ask for."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch

from transformer.config import DecodingSection, Sections
from transformer.decoding.candidates.reranking import MinimumBayesRisk, NoisyChannel, Rerank
from transformer.decoding.inspection.heads import mask_heads
from transformer.decoding.speed.prepack import prepack, prepack_int8
from transformer.decoding.speed.shortlist import read_shortlist
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.transformer import Transformer
from transformer.run.run import Run, open_run
from transformer.runtime.device import choose_device, choose_precision, configure_process, configured_process
from transformer.runtime.reporting import LoggingReporter, Reporter


def load(
    run: Run | str | Path, *overrides: str | Sections, configure: bool = False, reporter: Reporter | None = None
) -> Translator:
    """Load a trained run and return its translator.

    Args:
        run: a run directory, one of its checkpoints, or a `Run`.
        overrides: `section.key=value` texts, such as `"decoding.beam_size=1"`, `"run.device=cpu"`.
        configure: set PyTorch's threads (`run.threads`) and glibc's allocator like the command line, for the whole
            process; this is fastest.
        reporter: receives warnings and the names of other runs loaded; None for Python's logging.

    Raises:
        UserError: if `run` is not a run, or one of its files is damaged; the message names it.
    """
    opened = open_run(run, overrides)
    if configure:
        configure_process(opened.config.run.threads, choose_device(opened.config.run.device))
    return load_translator(opened, reporter or LoggingReporter())


def configured(run: Run) -> contextlib.AbstractContextManager[None]:
    """A context in which the process is configured by the run's options."""
    return configured_process(run.config.run.threads, choose_device(run.config.run.device))


def load_translator(run: Run, reporter: Reporter, use_all_cores: bool = False, alone: bool = False) -> Translator:
    """A run's model on its device, in the precision and with the helpers its options name.

    Args:
        reporter: receives the translator's warnings.
        use_all_cores: one worker per thread, unless `decoding.workers` is set.
        alone: without the other runs and the shortlist in its options, to examine the model itself.
    """
    options = run.config.decoding
    device = choose_device(run.config.run.device)
    model = run.load_model().to(device)
    if unknown := mask_heads(model, options.masked_heads):
        raise UserError(
            f"decoding.masked_heads: this model has no {', '.join(unknown)}; transformer heads RUN lists them"
        )
    others = [] if alone else [_load_member(member, run, reporter).to(device) for member in run.members]
    for each in (model, *others):
        freeze_weights(each, options.precision)
    shortlist = None
    if options.shortlist and not alone:
        shortlist = read_shortlist(run.path, *(tokenizer.vocab_size for tokenizer in run.tokenizers))
    if use_all_cores and options.workers is None:
        options = options.model_copy(update={"workers": torch.get_num_threads()})
    rerank = None if alone else _reranker(run, device, reporter)
    return Translator(
        model, *run.tokenizers, options, warn=reporter.warning, shortlist=shortlist, others=others, rerank=rerank
    )


def _reranker(run: Run, device: torch.device, reporter: Reporter) -> Rerank | None:
    """The reranker for `decoding.rerank`, if any."""
    options = run.config.decoding
    if options.rerank == "mbr":
        from transformer.evaluation.sentence_metrics import sentence_metric  # imports sacreBLEU

        utility = sentence_metric(options.mbr_utility, run.languages[1])
        return MinimumBayesRisk(run.tokenizers[1], utility, sampled=options.method == "sample")
    if options.reverse is None:
        return None
    reporter.info(f"decoding.reverse: {options.reverse}")
    other = run.reverse
    assert other is not None
    if other.languages != run.languages[::-1]:
        theirs, ours = other.languages, run.languages
        raise UserError(
            f"decoding.reverse: {options.reverse} translates from {theirs[0]} to {theirs[1]}; "
            f"give a run from {ours[1]} to {ours[0]}"
        )
    model = other.load_model().to(device)
    freeze_weights(model, options.precision)
    limits = {name: getattr(options, name) for name in ("batch_size", "batch_tokens", "max_source_length")}
    reverse = Translator(model, *other.tokenizers, DecodingSection(**limits))

    def log_probs(translations: Sequence[str], sources: Sequence[str]) -> list[float]:
        return [scored.log_prob for scored in reverse.score(translations, sources)]

    return NoisyChannel(*run.tokenizers, log_probs, options.channel_weight, options.length_weight)


def _load_member(member: Run, run: Run, reporter: Reporter) -> Transformer:
    """A model of the ensemble; a different tokenizer or language is a `UserError`."""
    reporter.info(f"decoding.ensemble: {member.given}")  # told, as a stranger's run may name any other
    if run.languages != member.languages:
        ours, theirs = run.languages, member.languages
        raise UserError(
            f"decoding.ensemble: {member.given} translates from {theirs[0]} to {theirs[1]}, and this run from "
            f"{ours[0]} to {ours[1]}; leave it out"
        )
    if member.tokenizer_hashes != run.tokenizer_hashes:
        raise UserError(
            f"decoding.ensemble: {member.given} has another tokenizer than this run; runs translate together that were "
            "trained with one tokenizer (tokenizer.source_model=RUN/tokenizer/shared.model)"
        )
    return member.load_model()


def freeze_weights(model: Transformer, precision: str) -> None:
    """Convert a model on its device to `decoding.precision`, in a layout that only decoding can use."""
    if precision == "int8":
        prepack_int8(model)
    else:
        model.to(choose_precision(precision, model.device))
        prepack(model)


def described(options: DecodingSection) -> str:
    """The search in a few words."""
    by = f", {len(options.ensemble) + 1} models" if options.ensemble else ""
    by += f", {options.rerank} among {options.num_candidates}" if options.rerank != "none" else ""
    if options.method == "beam":
        return f"beam {options.beam_size}{by}"
    rules = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "epsilon")}
    rules = {name: value for name, value in rules.items() if value not in (None, 1.0)}
    return ", ".join(["sampling", *(f"{name} {value}" for name, value in rules.items()), f"seed {options.seed}"]) + by
