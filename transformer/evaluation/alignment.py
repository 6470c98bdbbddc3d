"""Word alignments in Pharaoh format, and their error rate against a gold standard (Och and Ney 2003)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Alignment = set[tuple[int, int]]
_LINK = re.compile(r"(\d{1,6})([-p?])(\d{1,6})")


@dataclass(frozen=True)
class GoldAlignment:
    """Sure and possible links; the possible ones include the sure. A link is (source word, target word), from 0."""

    sure: Alignment
    possible: Alignment


def parse_gold(line: str) -> GoldAlignment:
    """Parse `0-0 1-2 2p3`: `-` is a sure link, `p` or `?` a possible one; raises ValueError for anything else."""
    sure, possible = set(), set()
    for word in line.split():
        match = _LINK.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no link; give e.g. 0-0, or 1p2 for a possible one")
        link = int(match[1]), int(match[3])
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldAlignment(sure, possible)


def in_pharaoh_format(links: Iterable[tuple[int, int]]) -> str:
    """`0-0 1-2`, sorted."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def alignment_error_rate(found: Iterable[Iterable[tuple[int, int]]], gold: Iterable[GoldAlignment]) -> float:
    """1 - (|A∩S| + |A∩P|) / (|A| + |S|) over all sentences (Och and Ney 2003); 0 is perfect."""
    hits = total = 0
    for links, expected in zip(found, gold, strict=True):
        own = set(links)
        hits += len(own & expected.sure) + len(own & expected.possible)
        total += len(own) + len(expected.sure)
    return 1 - hits / total if total else 0.0
