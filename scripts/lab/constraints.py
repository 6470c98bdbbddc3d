"""Measure required terms on a run's test corpus, with terms sampled from the references.

    python scripts/lab/constraints.py RUN [--seed 1] [--terms 2] [section.key=value …]

Samples one to --terms words of at least five letters from each reference. With and without these terms, prints the
share of translations that contain all of them, BLEU, and sentences per second of processor time.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Sequence

from transformer import load
from transformer.data.corpus import read_pairs
from transformer.decoding.request import Request
from transformer.evaluation.metrics import corpus_bleu
from transformer.run.run import Run
from transformer.runtime.command import refusals_in_one_line

_WORD = re.compile(r"\w{5,}")


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--terms", type=int, default=2, help="most terms per sentence (default: 2)")
    arguments = parser.parse_intermixed_args()
    measure(arguments.run, arguments.overrides, arguments.seed, arguments.terms)
    return 0


def measure(run: str, overrides: Sequence[str], seed: int, most: int) -> None:
    """Print a line for the free search, one for required terms, and one for each bonus."""
    config = Run(run, overrides).config
    pairs = list(read_pairs(config.data.test))
    references = [target for _, target in pairs]
    terms = drawn(references, seed, most)
    free = [Request(source) for source, _ in pairs]
    asked = [Request(source, terms=own) for (source, _), own in zip(pairs, terms, strict=True)]
    settings = [("free", free, []), ("required", asked, [])]
    settings += [(f"bonus {bonus}", asked, [f"decoding.term_bonus={bonus}"]) for bonus in (1.0, 2.0, 4.0, 8.0)]
    print(f"{len(pairs):,} sentences, {sum(map(len, terms)):,} terms")
    for name, requests, options in settings:
        translator = load(run, *overrides, "decoding.workers=1", *options, configure=True)
        start = time.process_time()
        found = translator.translate(requests)
        speed = len(found) / (time.process_time() - start)
        kept = sum(all(term in text for term in own) for text, own in zip(found, terms, strict=True))
        bleu = corpus_bleu(found, references, config.data.target_language)
        print(f"{name}: all terms in {100 * kept / len(found):.1f} %, {speed:.1f} sentences/s, {bleu}", flush=True)


def drawn(references: Sequence[str], seed: int, most: int) -> list[tuple[str, ...]]:
    """One to `most` distinct words of at least five letters of each reference, where it has any."""
    draw = random.Random(seed)
    terms = []
    for reference in references:
        words = sorted(set(_WORD.findall(reference)))
        terms.append(tuple(draw.sample(words, min(len(words), draw.randint(1, most)))))
    return terms


if __name__ == "__main__":
    sys.exit(main())
