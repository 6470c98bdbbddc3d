"""Learned absolute positions (Gehring et al. 2017; Vaswani et al. 2017, Table 3, row E), added to the embeddings."""

import torch
from torch import Tensor, nn

from transformer.errors import UserError
from transformer.model.layers import Layer


class LearnedPositions(Layer):
    """The vectors of positions `offset … offset + length - 1`, from a table (max_positions, D), where D is d_model."""

    def __init__(self, max_positions: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_positions, d_model))

    @property
    def max_length(self) -> int | None:
        """The rows of the table."""
        return len(self.weight)

    def draw_initial_weights(self) -> None:
        """N(0, 1/D), like embeddings before they are scaled: small beside them."""
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, length: int, offset: int = 0) -> Tensor:
        """(length, D).

        Raises:
            UserError: past the end of the table.
        """
        if offset + length > len(self.weight):
            raise UserError(
                f"learned positions end at {len(self.weight)} tokens, and this sentence needs {offset + length}; lower "
                "data.max_length or decoding.max_source_length, or train with a larger model.max_positions"
            )
        return self.weight[offset : offset + length]
