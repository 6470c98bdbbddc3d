"""Which continuations a search goes on with: the joint for every search that is not simply after the most probable.

B sentences, R beam size, N = B·R rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from transformer.decoding.rows import NEVER
from transformer.decoding.top import best_continuations


@dataclass(frozen=True)
class Choice:
    """What a step makes of a batch's hypotheses. Log-probabilities are -inf where there is none.

    Attributes:
        ended_log_probs, ended_parents: (B, R) hypotheses that end here, and which live one each was.
        log_probs, parents, tokens: (B, R) hypotheses that go on, which live one each continues, and its token.
    """

    ended_log_probs: Tensor
    ended_parents: Tensor
    log_probs: Tensor
    parents: Tensor
    tokens: Tensor


class Selection(Protocol):
    """Chooses, at every step, what ends and what goes on."""

    def choose(self, log_probs: Tensor, so_far: Tensor) -> Choice:
        """From (N, V) of the next token and (B, R) of the live hypotheses, at first (B, 1)."""

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences (B',) stay, in that order."""


class BestFirst:
    """Beam search proper: the R most probable that go on, and what ends among the R most probable of all.

    Args:
        beam_size: R.
        eos_id: the end mark.
    """

    def __init__(self, beam_size: int, eos_id: int) -> None:
        self.beam_size = beam_size
        self.eos_id = eos_id

    def choose(self, log_probs: Tensor, so_far: Tensor) -> Choice:
        """See `Selection.choose`."""
        beam = self.beam_size
        # at most one end mark a hypothesis, so the best 2R continuations hold R that go on
        best, parents, tokens = best_continuations(log_probs, so_far, 2 * beam)  # each (B, 2R)
        if best.shape[1] < beam:  # a tiny vocabulary, the first step
            missing = (0, beam - best.shape[1])
            best, parents, tokens = F.pad(best, missing, value=NEVER), F.pad(parents, missing), F.pad(tokens, missing)
        ends = tokens == self.eos_id  # (B, 2R)
        live, order = best.masked_fill(ends, NEVER).topk(beam, dim=1)  # (B, R) of the 2R
        ended = best[:, :beam].masked_fill(~ends[:, :beam], NEVER)  # (B, R)
        return Choice(ended, parents[:, :beam], live, parents.gather(1, order), tokens.gather(1, order))

    def keep(self, sentences: Tensor) -> None:
        """Nothing is kept from step to step."""
