"""What recurrent layers keep between the steps of decoding. B sentences, R beams, N = B·R rows, D d_model."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class RecurrentCache:
    """One state for each beam, whatever the length: (B, R, D)."""

    state: Tensor | None = None

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        """See `TargetCache.reorder`."""
        if self.state is not None:
            num_sentences = len(self.state) if sentences is None else len(sentences)
            state = self.state.flatten(0, 1).index_select(0, rows)  # (N', D)
            self.state = state.view(num_sentences, -1, state.shape[1])  # (B', R, D)


def precise(x: Tensor) -> Tensor:
    """At least fp32, for what is summed over many steps."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
