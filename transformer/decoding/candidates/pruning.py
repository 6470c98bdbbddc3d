"""Pruning: which continuations of a step end, and which go on. A search that is not simply after the most probable ones
has a pruning of its own.

B sentences, R beam size, N = B·R rows, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor
from torch.nn import functional as F

from transformer.decoding.rules.forbidden import NEVER
from transformer.decoding.speed.best_continuations import best_continuations


class Survivors(NamedTuple):
    """What pruning leaves of a step's continuations. A log-probability of -inf marks an empty place.

    Attributes:
        ended_log_probs, ended_parents: (B, R) hypotheses that end here, and the live hypothesis each comes from.
        log_probs, parents, tokens: (B, R) hypotheses that go on, the live one each extends, and the token appended.
    """

    ended_log_probs: Tensor
    ended_parents: Tensor
    log_probs: Tensor
    parents: Tensor
    tokens: Tensor


class Pruning(Protocol):
    """Decides at every step which continuations end and which go on."""

    def prune(self, log_probs: Tensor, so_far: Tensor) -> Survivors:
        """From (N, V) log-probabilities of the next token and (B, R) of the live hypotheses, at first (B, 1)."""

    def keep(self, sentences: Tensor) -> None:
        """Keep only these sentences (B',), in that order."""


class BestFirst:
    """Plain beam search: the R most probable continuations go on, and an end mark counts if it is among the R best.

    Args:
        beam_size: R.
        eos_id: the end mark.
    """

    def __init__(self, beam_size: int, eos_id: int) -> None:
        self.beam_size = beam_size
        self.eos_id = eos_id

    def prune(self, log_probs: Tensor, so_far: Tensor) -> Survivors:
        """See `Pruning.prune`."""
        beam = self.beam_size
        # a hypothesis has one end mark, so the best 2R continuations contain R that go on
        best, parents, tokens = best_continuations(log_probs, so_far, 2 * beam)  # each (B, 2R)
        if best.shape[1] < beam:  # the first step with a tiny vocabulary
            missing = (0, beam - best.shape[1])
            best, parents, tokens = F.pad(best, missing, value=NEVER), F.pad(parents, missing), F.pad(tokens, missing)
        ends = tokens == self.eos_id  # (B, 2R)
        live, order = best.masked_fill(ends, NEVER).topk(beam, dim=1)  # (B, R) of the 2R
        ended = best[:, :beam].masked_fill(~ends[:, :beam], NEVER)  # (B, R)
        return Survivors(ended, parents[:, :beam], live, parents.gather(1, order), tokens.gather(1, order))

    def keep(self, sentences: Tensor) -> None:
        """Nothing is kept from step to step."""
