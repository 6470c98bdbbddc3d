import torch

from transformer.model.masks import causal_mask, padding_mask


def test_padding_mask_is_true_at_tokens() -> None:
    mask = padding_mask(torch.tensor([[7, 0, 5], [4, 0, 0]]), pad_id=0)
    assert mask.tolist() == [[[[True, False, True]]], [[[True, False, False]]]]


def test_padding_mask_asks_for_the_given_id() -> None:
    assert padding_mask(torch.tensor([[7, 0, 5]]), pad_id=5).tolist() == [[[[True, True, False]]]]


def test_causal_mask_lets_a_position_see_itself_and_what_came_before() -> None:
    expected = [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_mask(3).tolist() == [[expected]]
