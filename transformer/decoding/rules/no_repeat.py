"""No n-gram twice. B sentences, N rows, V vocabulary, T tokens so far, W n-grams among them, m matches."""

from __future__ import annotations

from torch import Tensor

from transformer.decoding.rules.forbidden import NEVER


class NoRepeat:
    """No n-gram of n = `size` tokens occurs twice (Paulus et al. 2018, section 2.5, for n = 3).

    Args:
        exempt: for each sentence, tokens that may always be written; padded with -1: (B, K).
    """

    def __init__(self, size: int, exempt: Tensor) -> None:
        self.size = size
        self.exempt = exempt

    def apply(self, log_probs: Tensor, history: Tensor) -> None:
        length = history.shape[1]
        if length < self.size:
            return
        grams = history.unfold(1, self.size, 1)  # (N, W, n)
        newest = history[:, None, length - self.size + 1 :]  # (N, 1, n-1)
        rows, places = (grams[:, :, :-1] == newest).all(dim=2).nonzero(as_tuple=True)  # (m) each
        tokens = grams[rows, places, -1]  # (m) those that would complete an n-gram again
        sentences = rows // (len(history) // len(self.exempt))  # (m)
        free = (self.exempt[sentences] == tokens[:, None]).any(dim=1)  # (m)
        log_probs[rows[~free], tokens[~free]] = NEVER

    def reorder(self, rows: Tensor, sentences: Tensor | None) -> None:
        if sentences is not None:
            self.exempt = self.exempt.index_select(0, sentences)
