"""Splitting a many-to-many set of translations so that nothing leaks between train, validation and test."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from corpora.parallel import Pair

SEED = "tatoeba-zh-en/1"

# A component this large is a stock phrase with many variants ("Thank you", "Hurry up"): as a held-out
# source it would say little, while most of its pairs would have to be dropped. Training uses them all.
LARGEST_HELD_OUT_COMPONENT = 8


@dataclass(frozen=True)
class Split:
    """The outcome of split_pairs; every input pair is in one list or counted as dropped.

    Attributes:
        train: Training pairs.
        validation: Validation pairs, no sentence of either side twice.
        test: Test pairs, no sentence of either side twice.
        duplicates: Input pairs dropped because an equal pair was already there.
        extra_references: Pairs dropped because their source or target is already in the same held-out split.
        components: Number of groups of sentences linked by translation.
        largest_component: Number of pairs in the largest group.
    """

    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]
    duplicates: int
    extra_references: int
    components: int
    largest_component: int


def sentence_key(sentence: str) -> str:
    """Return the identity of a sentence: equal keys must not be in two splits.

    Width and compatibility variants (NFKC), letter case, white space and punctuation do not count, so
    that "Let's go!" in test cannot be answered from "Let's go." in train. A sentence that has nothing
    but these is identified by its folded text.
    """
    folded = " ".join(unicodedata.normalize("NFKC", sentence).split()).casefold()
    bare = "".join(char for char in folded if unicodedata.category(char)[0] not in "PZC")
    return bare or folded


def connected_components(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Group pairs whose sentences translate each other, directly or through other sentences.

    The order of the groups, and of the pairs in each, follows the input.
    """
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    keyed = [((0, sentence_key(source)), (1, sentence_key(target)), (source, target)) for source, target in pairs]
    for left, right, _ in keyed:
        parent[root(left)] = root(right)
    groups: dict[tuple[int, str], list[Pair]] = {}
    for left, _, pair in keyed:
        groups.setdefault(root(left), []).append(pair)
    return list(groups.values())


def split_pairs(pairs: Iterable[Pair], validation_size: int, test_size: int, seed: str = SEED) -> Split:
    """Split pairs into train, validation and test by whole connected components.

    The result depends on the set of pairs and the seed alone, not on the order of the input. The sizes
    are in pairs; a held-out split has exactly its size where the components allow it, and fewer otherwise.

    Raises:
        ValueError: A size is negative, or nothing would be left to train on.
    """
    if validation_size < 0 or test_size < 0:
        raise ValueError("the sizes of validation and test must not be negative")
    everything = list(pairs)
    distinct = set(everything)
    order = hash_order(seed)
    components = [sorted(component, key=order) for component in connected_components(sorted(distinct))]
    components.sort(key=lambda component: order(*component))

    test, rest, dropped_test = _hold_out(components, test_size)
    validation, rest, dropped_validation = _hold_out(rest, validation_size)
    train = [pair for component in rest for pair in component]
    if distinct and not train:
        raise ValueError(f"{len(distinct)} pairs leave none to train on: ask for smaller validation and test splits")
    return Split(
        # Sorted by hash, every prefix of a file is a fair sample, and variants of a sentence lie apart.
        train=sorted(train, key=order),
        validation=sorted(validation, key=order),
        test=sorted(test, key=order),
        duplicates=len(everything) - len(distinct),
        extra_references=dropped_test + dropped_validation,
        components=len(components),
        largest_component=max(map(len, components), default=0),
    )


def hash_order(seed: str) -> Callable[..., str]:
    """Return a sort key over pairs, or runs of pairs, that looks random but depends on content and seed alone."""

    def digest(*content: Pair) -> str:
        # A pair holds no newline or tab once cleaned; repr keeps the encoding unambiguous for any text.
        return hashlib.sha256(repr((seed, content)).encode("utf-8", "surrogatepass")).hexdigest()

    return digest


def _hold_out(components: list[list[Pair]], size: int) -> tuple[list[Pair], list[list[Pair]], int]:
    """Fill one held-out split from the front; return it, the components left over, and the pairs dropped."""
    chosen: list[Pair] = []
    rest: list[list[Pair]] = []
    dropped = 0
    for component in components:
        kept = _one_per_sentence(component) if len(component) <= LARGEST_HELD_OUT_COMPONENT else component
        if len(component) > LARGEST_HELD_OUT_COMPONENT or len(chosen) + len(kept) > size:
            rest.append(component)
            continue
        chosen += kept
        dropped += len(component) - len(kept)
    return chosen, rest, dropped


def _one_per_sentence(component: list[Pair]) -> list[Pair]:
    """Keep pairs so that no sentence occurs twice on either side.

    A scorer reads one reference a line: a source listed under each of its translations would be weighed
    several times over, and any one answer would be marked wrong against the others. The corpus may be
    trained in either direction, hence both sides. The pairs left out cannot go to train, where they
    would give the answer away.
    """
    sources: set[str] = set()
    targets: set[str] = set()
    kept: list[Pair] = []
    for source, target in component:
        source_key, target_key = sentence_key(source), sentence_key(target)
        if source_key in sources or target_key in targets:
            continue
        sources.add(source_key)
        targets.add(target_key)
        kept.append((source, target))
    return kept
