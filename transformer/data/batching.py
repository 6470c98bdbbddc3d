"""Which sentences meet in an update: shuffled windows, sorted by length, cut by target tokens.

Pairs of similar length need little padding, and the windows keep the order random (Vaswani et al. 2017, section 5.1:
batches "by approximate sequence length"). The windows of an epoch depend only on the seed, the epoch and the lengths,
so a resumed run finds its place by counting.

N sentence pairs, U updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transformer.data.batch import Batch, collate
from transformer.data.dataset import EncodedCorpus, EncodedPairs
from transformer.data.subword_sampling import SubwordSampling
from transformer.errors import UserError

Rows = np.ndarray[tuple[int], np.dtype[np.int64]]

SAMPLED_WINDOW = 32  # batches, when segmentations are drawn: the first update waits for its whole window


@dataclass(frozen=True)
class Batching:
    """How a corpus is cut into updates.

    Attributes:
        batch_tokens: target tokens of an update, end marks included; each comes as near as whole sentences allow.
        micro_batch_tokens: padded tokens a side of a micro-batch; None: no bound.
        window: batches that are sorted by length together.
        seed: the run's.
    """

    batch_tokens: int
    micro_batch_tokens: int | None
    window: int
    seed: int


@dataclass(frozen=True)
class Window:
    """Pairs that are sorted by length together, and cut into updates.

    Attributes:
        rows: the pairs, in random order.
        order: (U,) the order in which the U updates of these pairs come.
    """

    rows: Rows
    order: np.ndarray

    def updates(self, source_lengths: np.ndarray, target_lengths: np.ndarray) -> list[Rows]:
        """The places in `rows` of each update's pairs, sorted by length; the updates come in their order. The lengths,
        (rows,), are without special ids."""
        # by the longer side first: it pads least of the orders tried, half as much as by target length alone
        by_length = np.lexsort((source_lengths, target_lengths, np.maximum(source_lengths, target_lengths)))
        batches = cut_by_tokens(by_length, target_lengths[by_length] + 1, len(self.order))
        return [batches[index] for index in self.order]


def epoch_windows(target_lengths: np.ndarray, batch_tokens: int, window: int, seed: int, epoch: int) -> list[Window]:
    """The windows of one epoch, counted from 0; each row is in exactly one. `target_lengths`, (N,), are without special
    ids; for the rest see `Batching`."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(target_lengths))
    mean_length = float(target_lengths.mean()) + 1 if len(order) else 1.0
    window_rows = max(1, round(window * batch_tokens / mean_length))
    num_windows = max(1, round(len(order) / window_rows))  # of equal size, so no small remainder is left
    return [
        Window(rows, generator.permutation(number_of_batches(target_lengths[rows] + 1, batch_tokens)))
        for rows in np.array_split(order, num_windows)
    ]


def number_of_batches(tokens: np.ndarray, batch_tokens: int) -> int:
    """The number of batches of sentences with `tokens`, (N,), for which each comes as near to `batch_tokens` as a whole
    number allows."""
    # a longer sentence fills one batch, and takes nothing from the next
    return min(len(tokens), max(1, round(float(np.minimum(tokens, batch_tokens).sum()) / batch_tokens)))


def cut_by_tokens(rows: Rows, tokens: np.ndarray, number: int) -> list[Rows]:
    """Cut rows, (N,), into `number` ≤ N runs of about equal sums of `tokens`, (N,), none of them empty."""
    if not number:
        return []
    # a row longer than a share takes up one, and leaves the others their size
    total, place = np.cumsum(np.minimum(tokens, tokens.sum() / number)), np.arange(1, number)
    starts = np.searchsorted(total, total[-1] * place / number)
    starts = np.maximum.accumulate(np.maximum(starts, 1) - place) + place
    return np.split(rows, np.minimum(starts, len(rows) - number + place))


def split_update(rows: Rows, source_lengths: np.ndarray, target_lengths: np.ndarray, limit: int | None) -> list[Rows]:
    """Split an update's rows into micro-batches of at most `limit` padded tokens a side, or of one longer sentence."""
    if limit is None:
        return [rows]
    longest = np.maximum(source_lengths[rows], target_lengths[rows]) + 1
    pieces, start, width = list[Rows](), 0, 0
    for index, length in enumerate(longest.tolist()):
        width = max(width, length)
        if index > start and width * (index + 1 - start) > limit:
            pieces.append(rows[start:index])
            start, width = index, length
    return [*pieces, rows[start:]]


@dataclass(frozen=True)
class Position:
    """A place in the data: `epoch` passes are done, and `batch` updates of the next one."""

    epoch: int = 0
    batch: int = 0


class Update:
    """The sentences of one update, and this process' share of them.

    The rows are dealt to the processes in turn, so that each gets the same lengths. Processes exchange gradients in
    step and need the same number of micro-batches, so one that has fewer adds fillers, which weigh nothing.

    Args:
        rows: of all processes, sorted by length.
        micro_batch_tokens: padded tokens a side of a micro-batch; None: no bound.
        rank, size: the number of this process, from 0, and how many the job has.

    Attributes:
        num_target_tokens: of all processes, end marks included.
    """

    def __init__(
        self, corpus: EncodedPairs, rows: Rows, micro_batch_tokens: int | None, rank: int = 0, size: int = 1
    ) -> None:
        self.corpus = corpus
        self.rows = rows
        self.micro_batch_tokens = micro_batch_tokens
        self.rank = rank
        self.size = size
        self.num_target_tokens = int(corpus.target_lengths[rows].sum()) + len(rows)
        self._collated: dict[int, list[tuple[Batch, bool]]] = {}

    def micro_batches(self, halvings: int = 0) -> list[tuple[Batch, bool]]:
        """This process' batches, each with whether it counts or is a filler; for want of memory, the bound on a
        micro-batch is halved `halvings` times."""
        if halvings not in self._collated:  # kept, because an update may be repeated
            shares = [self._pieces(rank, halvings) for rank in range(self.size)]
            own, most = shares[self.rank], max(map(len, shares))
            pieces = [*((rows, True) for rows in own), *[(self.rows[:1], False)] * (most - len(own))]
            self._collated[halvings] = [(self._collate(rows), counts) for rows, counts in pieces]
        return self._collated[halvings]

    def _pieces(self, rank: int, halvings: int) -> list[Rows]:
        """The rows of a process' micro-batches."""
        lengths = self.corpus.source_lengths, self.corpus.target_lengths
        rows = self.rows[rank :: self.size]
        if not len(rows):
            return []
        limit = self.micro_batch_tokens
        if halvings:
            longest = 1 + max(int(side[self.rows].max()) for side in lengths)
            whole = longest * -(-len(self.rows) // self.size)  # padded tokens of a process' share
            limit = max(1, min(limit or whole, whole) // 2**halvings)
        return split_update(rows, *lengths, limit)

    def _collate(self, rows: Rows) -> Batch:
        return collate(self.corpus.sources(rows), self.corpus.targets(rows))


class UpdateStream:
    """The endless sequence of updates, with a position that can be saved.

    The position counts updates of the whole job, so that a run goes on at the same sentence with more or fewer
    processes.

    Args:
        rank, size: see `Update`.
        sampling: draws another segmentation for the sentences of each window; None: they stay as they are. The number
            of updates of an epoch does not depend on what is drawn; updates grow with their sentences.

    Attributes:
        micro_batch_tokens: as in `batching`, until `training.micro_batch_tokens: auto` finds another.
        epoch_share: how much of the current epoch is done; 0.0 before the first update.
    """

    def __init__(
        self,
        corpus: EncodedCorpus,
        batching: Batching,
        position: Position | None = None,
        rank: int = 0,
        size: int = 1,
        sampling: SubwordSampling | None = None,
    ) -> None:
        self.corpus = corpus
        self.batching = batching
        self.micro_batch_tokens = batching.micro_batch_tokens
        self.position = position or Position()
        self.rank = rank
        self.size = size
        self.sampling = sampling
        self.epoch_share = 0.0

    def __iter__(self) -> Iterator[Update]:
        while True:
            place = self.position
            windows = self._windows(place.epoch)
            last = sum(len(window.order) for window in windows) - 1
            if place.batch > last:
                raise UserError(
                    f"update {place.batch} of an epoch is asked for, and the training corpus has fewer; "
                    "the run's checkpoint is of other data"
                )
            for batch, update in enumerate(self._updates(windows, place), place.batch):
                self.position = Position(place.epoch + 1) if batch == last else Position(place.epoch, batch + 1)
                self.epoch_share = self.position.batch / (last + 1)
                yield update

    def _windows(self, epoch: int) -> list[Window]:
        batching = self.batching
        window = batching.window if self.sampling is None else min(batching.window, SAMPLED_WINDOW)
        return epoch_windows(self.corpus.target_lengths, batching.batch_tokens, window, batching.seed, epoch)

    def _updates(self, windows: list[Window], place: Position) -> Iterator[Update]:
        """The updates of an epoch, from a place in it on."""
        passed = 0
        for number, window in enumerate(windows):
            first, passed = max(0, place.batch - passed), passed + len(window.order)
            if place.batch >= passed:
                continue
            corpus: EncodedPairs = self.corpus
            rows = window.rows
            if self.sampling is not None:
                corpus, rows = self.sampling(corpus, rows, place.epoch, number), np.arange(len(rows))
            for chosen in window.updates(corpus.source_lengths[rows], corpus.target_lengths[rows])[first:]:
                yield Update(corpus, rows[chosen], self.micro_batch_tokens, self.rank, self.size)


def batch_by_length(lengths: list[int], batch_size: int, batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of sentences to search together, longest first: at most `batch_size` of them and
    `batch_tokens` tokens, padding included; a longer sentence makes a batch by itself."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = max(1, min(batch_size, batch_tokens // longest))
        yield order[start : start + size]
        start += size
