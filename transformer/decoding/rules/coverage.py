"""Coverage penalty (Wu et al. 2016, equation 14): a translation that never attended to part of its source scores lower.

B sentences, R beams per sentence, N = B·R rows, H heads, S source length with padding, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transformer.decoding.step import ModelState, ModelStep
from transformer.model.inspection.attention_record import AttentionRecord


class Coverage:
    """A step function and its own state: a model's, with how much each row has attended to each source token so far.

    The attention is the mean over the heads of the cross-attention of the last decoder layer but one, as in
    `transformer align`. It comes from the steps that the search computes anyway.

    Args:
        beta: β of the penalty.
    """

    def __init__(self, step: ModelStep, state: ModelState, beta: float) -> None:
        self.step = step
        self.state = state
        self.beta = beta
        self.attention = f"cross.{step.model.decoder.aligning_layer}"
        self.attended: Tensor | None = None  # (N, S)

    def __call__(self, token_ids: Tensor, state: Coverage) -> tuple[Tensor, Coverage]:
        record = AttentionRecord({self.attention})
        log_probs, self.state = self.step(token_ids, self.state, record)
        (weights,) = record.maps[self.attention]  # (B, H, R, S)
        seen = weights.mean(dim=1).flatten(0, 1)  # (N, S)
        self.attended = seen if self.attended is None else self.attended + seen
        return log_probs, state

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        self.state.reorder(rows, sentences)
        if self.attended is not None:
            self.attended = self.attended.index_select(0, rows)

    def penalty(self) -> Tensor:
        """(N) what to add to the score of a row that ends now: β · Σ log min(Σ attention, 1) over its source, ≤ 0."""
        assert self.attended is not None
        source = self.state.encoder_output.source_mask[:, 0, 0]  # (B, S)
        source = source.repeat_interleave(len(self.attended) // len(source), dim=0)  # (N, S)
        covered = self.attended.clamp(min=torch.finfo(torch.float32).tiny, max=1.0).log()  # (N, S)
        return self.beta * covered.masked_fill(~source, 0.0).sum(dim=1)
