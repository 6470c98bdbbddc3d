"""Significance tests between systems on one test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer.config import Overrides
from transformer.data.corpus import read_lines
from transformer.errors import UserError
from transformer.evaluation.significance import RESAMPLES, TRIALS, Comparison, compare_systems
from transformer.reading import JsonObject
from transformer.run.run import Run, open_run
from transformer.runtime.reporting import LoggingReporter, Reporter
from transformer.tasks.evaluation_set import (
    EvaluationSet,
    check_counts,
    known_resamples,
    read_evaluation_set,
    translate_set,
)


@dataclass(frozen=True)
class TestSet:
    """The test set of a comparison."""

    split: str = "test"  # of the first run's data
    source: str | None = None  # a file to use instead, if a run has to translate
    reference: str | None = None  # a file to use instead
    target_language: str | None = None  # chooses BLEU's tokenizer if no run does


@dataclass(frozen=True)
class ComparisonResult:
    """The result of a comparison on a test set of so many sentences."""

    corpus: str
    sentences: int
    baseline: str  # the first system
    comparisons: list[Comparison]  # one per metric

    def to_json(self) -> JsonObject:
        return vars(self) | {"comparisons": [comparison.to_json() for comparison in self.comparisons]}


@dataclass(frozen=True)
class _System:
    """A system: a run, or the lines of a file."""

    name: str
    run: Run | None = None
    lines: list[str] | None = None


def compare(
    systems: Sequence[Run | str | Path],
    overrides: Overrides = (),
    test_set: TestSet | None = None,
    resamples: int | None = None,
    trials: int = TRIALS,
    reporter: Reporter | None = None,
) -> ComparisonResult:
    """Compare systems by BLEU, chrF2++ and TER, with sacreBLEU's paired bootstrap (Koehn 2004) and paired approximate
    randomisation (Riezler and Maxwell 2005).

    Args:
        systems: runs, which are translated now, or files of translations, one per line; the first is the baseline.
        overrides: applied to the options of every run.
        test_set: None for the test set of the first run.
        resamples, trials: number of bootstrap samples and of randomisations.
        reporter: see `transformer.tasks`.

    Raises:
        UserError: if the systems do not fit together, or the test set is unknown.
    """
    reporter, test_set = reporter or LoggingReporter(), test_set or TestSet()
    if len(systems) < 2:
        raise UserError("compare takes a baseline and at least one other system; give two runs or files")
    if not 100 <= trials <= 1_000_000:
        raise UserError(f"--trials {trials}: give 100 to 1000000")
    if resamples == 0:
        raise UserError("--resamples 0: a comparison needs them; give 100 to 100000")
    opened = [_open(system, overrides) for system in systems]
    scored = _evaluation_set(test_set, opened)
    resamples = known_resamples(resamples or RESAMPLES, len(scored.references), reporter)
    language = _target_language(test_set, opened)
    for system in opened:
        if system.lines is not None:
            check_counts(system.name, len(system.lines), f"the test set ({scored.name})", len(scored.references))
    hypotheses = [(system.name, _translations(system, scored, reporter)) for system in opened]
    found = compare_systems(hypotheses, scored.references, language, resamples, trials)
    return ComparisonResult(scored.name, len(scored.references), opened[0].name, found)


def _open(system: Run | str | Path, overrides: Overrides) -> _System:
    if not isinstance(system, Run) and not Path(system).is_dir():
        return _System(str(system), lines=list(read_lines(Path(system))))
    run = open_run(system, overrides)
    return _System(str(run.given), run=run)


def _evaluation_set(test_set: TestSet, systems: list[_System]) -> EvaluationSet:
    run = next((system.run for system in systems if system.run is not None), None)
    if run is not None:
        return read_evaluation_set(run.config, test_set.split, test_set.source, test_set.reference)
    if test_set.reference is None or test_set.source is not None:
        raise UserError("all systems are files, so the test set is not known; give --reference FILE, and no --source")
    return EvaluationSet(test_set.reference, [], list(read_lines(Path(test_set.reference))))


def _target_language(test_set: TestSet, systems: list[_System]) -> str:
    """The language that all systems translate into."""
    known = {system.name: system.run.languages[1] for system in systems if system.run is not None}
    if test_set.target_language is not None:
        known["--target-language"] = test_set.target_language
    if not known:
        raise UserError("all systems are files, so the language is not known; give --target-language CODE, e.g. de")
    if len(set(known.values())) > 1:
        said = ", ".join(f"{name}: {language}" for name, language in known.items())
        raise UserError(f"the systems translate into different languages ({said}); compare those of one")
    return next(iter(known.values()))


def _translations(system: _System, scored: EvaluationSet, reporter: Reporter) -> list[str]:
    if system.run is None:
        return system.lines or []
    reporter.info(f"{system.name}:")
    return [translation.text for translation in translate_set(system.run, scored.sources, reporter)]
