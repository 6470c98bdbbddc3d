"""Measure the effect of search options on a run's BLEU and speed, and write the table of docs/measured/search.md.

    python scripts/lab/search_options.py RUN PAGE [--only NAME …] [section.key=value …]

Each setting translates the run's test corpus in a single thread. Speeds are sentences per second of processor time,
relative to the run's own options, which are measured again after every fifth setting; their fastest speed is 1. The
table replaces the text between the comments `measured: begin` and `measured: end` in PAGE.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer import load
from transformer.data.corpus import read_pairs
from transformer.evaluation.metrics import Score, evaluate_corpus
from transformer.run.run import Run
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.reporting import TerminalReporter
from trials.measured_part import MeasuredPart

DEFAULT = "the run's own"
_AGAIN_AFTER = 5
_ALONE = ("run.threads=1", "decoding.workers=1")
SETTINGS: dict[str, list[str]] = {
    DEFAULT: [],
    **{f"beam {beam}": [f"decoding.beam_size={beam}"] for beam in (1, 2, 4, 5, 8, 12)},
    "patience 1": ["decoding.patience=1.0"],
    **{f"α {alpha}": [f"decoding.gnmt_length_penalty={alpha}"] for alpha in (0.6, 1.4)},
    "average": ["decoding.length_penalty=average"],
    "no length penalty": ["decoding.length_penalty=none"],
    **{f"coverage β {beta}": [f"decoding.coverage_penalty={beta}"] for beta in (0.05, 0.2)},
    "min_length 8": ["decoding.min_length=8"],
    **{f"no repeated {size}-gram": [f"decoding.no_repeat_ngram_size={size}"] for size in (2, 3)},
    "repetition guard 3": ["decoding.repetition_guard=3"],
    **{
        f"{groups} diverse groups, beam {beam}": [f"decoding.beam_size={beam}", f"decoding.diverse_groups={groups}"]
        for groups, beam in ((2, 4), (4, 8))
    },
}


@dataclass(frozen=True)
class Figures:
    """BLEU, mean words per translation, and sentences per second of processor time."""

    bleu: Score
    words: float
    speed: float


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("page", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for all settings")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, metavar="NAME", default=list(SETTINGS))
    arguments = parser.parse_intermixed_args()
    part = MeasuredPart(arguments.page)
    part.write(table(arguments.run, arguments.overrides, arguments.only))
    return 0


def table(run: str, overrides: Sequence[str], names: Sequence[str]) -> str:
    """A Markdown row per setting, and the signature of the scores."""
    config = Run(run, overrides).config
    pairs = list(read_pairs(config.data.test))
    found = {}
    fastest = measure(run, [*overrides, *_ALONE], pairs, config.data.target_language)
    for number, name in enumerate(names, 1):
        found[name] = measure(run, [*overrides, *_ALONE, *SETTINGS[name]], pairs, config.data.target_language)
        TerminalReporter().info(f"{name}: {found[name].bleu}, {found[name].speed:.1f} sentences/s")
        if number % _AGAIN_AFTER == 0:
            again = measure(run, [*overrides, *_ALONE], pairs, config.data.target_language)
            fastest = max(fastest, again, key=lambda figures: figures.speed)
    lines = [
        "| setting | options | BLEU | words | relative speed |",
        "|---|---|---|---|---|",
        *(_row(name, figures, fastest) for name, figures in found.items()),
    ]
    bleu = fastest.bleu
    note = f"{len(pairs):,} sentences; {bleu.name} {bleu.signature.replace('|', ' ')}; the run's own options: "
    options = config.decoding
    note += f"beam {options.beam_size}, α {options.gnmt_length_penalty}; {fastest.speed:.1f} sentences/s.\n"
    return "\n".join(lines) + "\n\n" + note


def _row(name: str, figures: Figures, default: Figures) -> str:
    options = " ".join(f"`{option}`" for option in SETTINGS[name])
    speed = f"{figures.speed / default.speed:.2f}"
    return f"| {name} | {options} | {figures.bleu.value:.2f} | {figures.words:.2f} | {speed} |"


def measure(run: str, options: Sequence[str], pairs: Sequence[tuple[str, str]], language: str) -> Figures:
    """Translate and score the pairs."""
    translator = load(run, *options, configure=True)
    start = time.process_time()
    found = translator.translate([source for source, _ in pairs])
    speed = len(found) / (time.process_time() - start)
    bleu = evaluate_corpus(found, [target for _, target in pairs], language)[0]
    return Figures(bleu, sum(len(text.split()) for text in found) / len(found), speed)


if __name__ == "__main__":
    sys.exit(main())
