import torch

from transformer.decoding.inspection.alignment import word_alignment


def test_words_are_aligned_by_the_pieces_that_look_most() -> None:
    """Two heads; source words: 0 = ▁a b, 1 = ▁c; target words: 0 = ▁x, 1 = ▁y z. End marks count for nothing."""
    first = torch.tensor([[0.1, 0.1, 0.2, 0.6], [0.4, 0.3, 0.1, 0.2], [0.4, 0.3, 0.1, 0.2], [0, 0, 0, 1.0]])
    second = torch.tensor([[0.1, 0.1, 0.7, 0.1], [0.2, 0.2, 0.6, 0.0], [0.4, 0.3, 0.1, 0.2], [0, 0, 0, 1.0]])
    cross = torch.stack([first, second])
    assert word_alignment(cross, ["▁a", "b", "▁c"], ["▁x", "▁y", "z"]) == [(1, 0), (0, 1)]
    assert word_alignment(cross[:, :1], ["▁a", "b", "▁c"], []) == []
