"""Compare systems on one test set: which differences are more than chance, by BLEU, chrF2++ and TER.

    transformer compare runs/baseline runs/mine runs/other
    transformer compare runs/baseline mine.en other.en            files of translations, a line each
    transformer compare a.en b.en --reference test.en --target-language en
    transformer compare runs/baseline/checkpoints/00002000 runs/baseline decoding.beam_size=1

The first is the baseline. A run is translated now, each by its own tokenizer; options hold for every run. The test set
is the first run's (--split), or two files. For each system: figure, sacreBLEU's 95 % interval of it, difference from
the baseline with its own interval, the p-values of sacreBLEU's paired bootstrap (Koehn 2004) and paired approximate
randomisation (Riezler and Maxwell 2005), and how many sentences are translated differently.
docs/guide/evaluation.md tells how to read them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from transformer.config import SPLITS, Config, is_override
from transformer.data.corpus import read_lines
from transformer.errors import UserError
from transformer.evaluation.significance import RESAMPLES, TRIALS, Comparison, SystemScore, compare_systems
from transformer.runtime.files import check_writable, json_bytes, write_file
from transformer.tasks.evaluation_set import EvaluationSet, known_resamples, read_evaluation_set, translate_set
from transformer.tasks.translators import check_counts, run_config, say


@dataclass
class _System:
    """A run, or a file's lines."""

    name: str
    config: Config | None = None
    lines: list[str] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("systems", nargs="+", metavar="SYSTEM", help="runs, checkpoints or files; section.key=value")
    parser.add_argument("--split", choices=SPLITS, default="test", help="corpus of the first run (default: test)")
    parser.add_argument("--source", metavar="FILE", help="other source sentences; needed where a run is translated")
    parser.add_argument("--reference", metavar="FILE", help="their reference translations")
    parser.add_argument("--target-language", metavar="CODE", help="chooses BLEU's tokenizer where no run does")
    parser.add_argument("--resamples", type=int, metavar="N", help=f"of the bootstrap (default: {RESAMPLES})")
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N", help=f"of the randomisation ({TRIALS})")
    parser.add_argument("--json", metavar="FILE", help="write everything there as JSON")


def run(arguments: argparse.Namespace) -> int:
    overrides = [argument for argument in arguments.systems if is_override(argument)]
    names = [argument for argument in arguments.systems if not is_override(argument)]
    if len(names) < 2:
        raise UserError("compare takes a baseline and at least one other system; give two runs or files")
    if not 100 <= arguments.trials <= 1_000_000:
        raise UserError(f"--trials {arguments.trials}: give 100 to 1000000")
    if arguments.resamples == 0:
        raise UserError("--resamples 0: a comparison needs them; give 100 to 100000")
    if arguments.json:
        check_writable(Path(arguments.json))
    systems = [_open(name, overrides) for name in names]
    scored = _evaluation_set(arguments, systems)
    # asked or not: a comparison is nothing without them
    resamples = known_resamples(arguments.resamples or RESAMPLES, len(scored.references))
    language = _target_language(arguments, systems)
    for system in systems:
        if system.lines is not None:
            check_counts(system.name, len(system.lines), f"the test set ({scored.name})", len(scored.references))
    hypotheses = [(system.name, _translations(system, overrides, scored)) for system in systems]
    found = compare_systems(hypotheses, scored.references, language, resamples, arguments.trials)
    print(f"{scored.name}: {len(scored.references):,} sentences; baseline: {names[0]}")
    for comparison in found:
        print("\n" + "\n".join(_table(comparison)))
    if arguments.json:
        report = {
            "corpus": scored.name,
            "sentences": len(scored.references),
            "baseline": names[0],
            "overrides": overrides,
            "comparisons": [comparison.to_json() for comparison in found],
        }
        write_file(Path(arguments.json), json_bytes(report))
    return 0


def _open(name: str, overrides: list[str]) -> _System:
    if Path(name).is_dir():
        return _System(name, config=run_config(name, overrides))
    return _System(name, lines=list(read_lines(Path(name))))


def _evaluation_set(arguments: argparse.Namespace, systems: list[_System]) -> EvaluationSet:
    config = next((system.config for system in systems if system.config is not None), None)
    if config is not None:
        return read_evaluation_set(config, arguments.split, arguments.source, arguments.reference)
    if arguments.reference is None or arguments.source is not None:
        raise UserError("all systems are files, so the test set is not known; give --reference FILE, and no --source")
    return EvaluationSet(arguments.reference, [], list(read_lines(Path(arguments.reference))))


def _target_language(arguments: argparse.Namespace, systems: list[_System]) -> str:
    """The one language into which all systems translate."""
    known = {system.name: system.config.data.target_language for system in systems if system.config is not None}
    if arguments.target_language is not None:
        known["--target-language"] = arguments.target_language
    if not known:
        raise UserError("all systems are files, so the language is not known; give --target-language CODE, e.g. de")
    if len(set(known.values())) > 1:
        said = ", ".join(f"{name}: {language}" for name, language in known.items())
        raise UserError(f"the systems translate into different languages ({said}); compare those of one")
    return next(iter(known.values()))


def _translations(system: _System, overrides: list[str], scored: EvaluationSet) -> list[str]:
    if system.lines is not None:
        return system.lines
    say(f"{system.name}:")
    translations = translate_set(system.name, overrides, scored.sources)
    return [translation.text for translation in translations]


def _table(comparison: Comparison) -> list[str]:
    """A metric's lines, aligned."""
    metric = comparison.metric + ("" if comparison.higher_is_better else " (lower is better)")
    heads = metric, "", "μ ± 95 %", "Δ", "95 % of Δ", "p bootstrap", "p randomisation", "sentences"
    rows = [heads, *(_row(system) for system in comparison.systems)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    aligned = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    signatures = comparison.bootstrap_signature, comparison.randomisation_signature
    return [*aligned, *(f"signature  {signature}" for signature in signatures)]


def _row(system: SystemScore) -> tuple[str, ...]:
    interval = f"{system.bootstrap_mean:.2f} ± {system.bootstrap_half_width:.2f}"
    figure = system.system, f"{system.value:.2f}", interval
    if system.difference is None:
        return *figure, *[""] * 5
    d = system.difference
    p_values = f"{d.p_bootstrap:.4f}", f"{d.p_randomisation:.4f}"
    return *figure, f"{d.delta:+.2f}", f"{d.low:+.2f} to {d.high:+.2f}", *p_values, f"{d.sentences:,}"
