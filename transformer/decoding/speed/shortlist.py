"""A lexical shortlist: the target pieces that a source sentence may need. The others are not computed at all.

A sentence's shortlist holds the candidates of its pieces (`data.lexicon`) and the most frequent pieces. It does not
depend on the rest of the batch. The search then works on positions in the batch's shortlist instead of ids; special ids
come first and keep their numbers.

B sentences, V' pieces in the shortlist of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from transformer.data.tokenizer import SPECIALS
from transformer.errors import UserError
from transformer.runtime.files import write_file
from transformer.runtime.tensor_file import Shapes, read_tensor_file

SHORTLIST_FILE = "shortlist.safetensors"
_MULTIPLE = 512


@dataclass(frozen=True)
class BatchShortlist:
    """The pieces that a batch of sentences may need."""

    ids: Tensor  # (V') ascending, so the special ids come first; then filling that no sentence may use
    allowed: Tensor  # (B, V'), True at the pieces that a sentence may use

    def select(self, sentences: Tensor | None) -> BatchShortlist:
        """Keep some sentences (B',), in that order; None: all."""
        return self if sentences is None else BatchShortlist(self.ids, self.allowed.index_select(0, sentences))


class Shortlist:
    """The shortlist of a vocabulary; nothing in it changes.

    Args:
        candidates: (V_s, k) target ids for each source id, best first, filled with -1.
        frequent: (F) target ids that every sentence may use.
    """

    def __init__(self, candidates: np.ndarray, frequent: np.ndarray) -> None:
        self.candidates = candidates
        self.frequent = frequent

    def of_batch(self, sources: Sequence[Sequence[int]], device: torch.device) -> BatchShortlist:
        """The shortlist of source sentences, ids without special ids."""
        always = np.union1d(list(SPECIALS.values()), self.frequent)
        own = [np.union1d(always, self.candidates[list(ids)].ravel()) for ids in sources]
        own = [ids[ids >= 0] for ids in own]
        ids = np.unique(np.concatenate(own))
        allowed = np.stack([np.isin(ids, of_sentence, assume_unique=True) for of_sentence in own])
        rest = -len(ids) % _MULTIPLE  # few sizes: oneDNN plans each product of a new size anew
        ids, allowed = np.pad(ids, (0, rest)), np.pad(allowed, ((0, 0), (0, rest)))
        return BatchShortlist(torch.from_numpy(ids).to(device), torch.from_numpy(allowed).to(device))

    def write(self, run: Path) -> Path:
        """Write it into a run directory; returns the file."""
        path = run / SHORTLIST_FILE
        tensors = {"candidates": self.candidates.astype(np.int32), "frequent": self.frequent.astype(np.int32)}
        write_file(path, safetensors.numpy.save(tensors))
        return path


def read_shortlist(run: Path, source_vocabulary: int, target_vocabulary: int) -> Shortlist:
    """The shortlist of a run directory.

    Raises:
        UserError: there is none, it belongs to other vocabularies, or the file is damaged.
    """
    path = run / SHORTLIST_FILE
    foreign = UserError(f"{path}: not of this run's vocabularies; make it anew: transformer shortlist {run}")

    def accept(shapes: Shapes) -> None:
        candidates, frequent = shapes["candidates"], shapes["frequent"]
        fits = len(shapes) == len(candidates) == 2 and len(frequent) == 1 and candidates[0] == source_vocabulary
        if not fits or max(candidates[1], frequent[0]) > target_vocabulary:
            raise foreign

    try:
        tensors = safetensors.numpy.load(read_tensor_file(path, accept))
        candidates, frequent = tensors["candidates"], tensors["frequent"]
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file, and decoding.shortlist=true needs it; make it: transformer shortlist {run}"
        ) from None
    except (OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error}); make it anew: transformer shortlist {run}") from None
    if not _are_ids(candidates, -1, target_vocabulary) or not _are_ids(frequent, 0, target_vocabulary):
        raise foreign
    return Shortlist(candidates, frequent)


def _are_ids(values: np.ndarray, lowest: int, vocabulary: int) -> bool:
    return values.dtype == np.int32 and bool(((values >= lowest) & (values < vocabulary)).all())
