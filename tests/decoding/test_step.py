import copy

import pytest
import torch
from torch import Tensor

from transformer.decoding.step import ModelState, ModelStep
from transformer.model.transformer import Transformer

SOURCE_IDS = torch.tensor([[5, 6, 7, 3], [9, 4, 3, 0], [8, 3, 0, 0]])


def fresh(model: Transformer, sentence: int, words: list[int]) -> Tensor:
    """Log-probabilities after a prefix, computed without any cache."""
    hidden = model.decode(torch.tensor([words]), model.encode(SOURCE_IDS[sentence : sentence + 1]))
    return model.output(hidden[0, -1]).log_softmax(0)


@torch.inference_mode()
def test_a_step_gives_the_models_log_probabilities(tiny_model: Transformer) -> None:
    step, state = ModelStep(tiny_model), ModelState(tiny_model, SOURCE_IDS)
    tokens = torch.tensor([[2, 7], [2, 8], [2, 9], [2, 10], [2, 11], [2, 12]])
    step(tokens[:, :1], state)
    log_probs, state = step(tokens[:, 1:], state)
    assert log_probs.shape == (6, 320)
    for row, words in enumerate(tokens.tolist()):
        torch.testing.assert_close(log_probs[row].double(), fresh(tiny_model, row // 2, words), rtol=1e-5, atol=1e-5)


# each run of two rows comes from one sentence; the sentences that are not named have left
@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4, 5], [1, 0, 2, 2, 5, 4], [1, 1, 4, 5], [3, 2], [5, 5]], ids=str)
@torch.inference_mode()
def test_reorder_keeps_each_row_with_its_own_source(tiny_model: Transformer, index: list[int]) -> None:
    step, state = ModelStep(tiny_model), ModelState(tiny_model, SOURCE_IDS)
    begin = torch.tensor([[2, 7], [2, 8], [2, 9], [2, 10], [2, 11], [2, 12]])
    for token in begin.split(1, dim=1):
        step(token, state)
    state.reorder(torch.tensor(index), torch.tensor(index[::2]) // 2)
    newest = torch.arange(20, 20 + len(index))[:, None]
    log_probs, _ = step(newest, state)
    for row, old_row in enumerate(index):
        words = [*begin[old_row].tolist(), 20 + row]
        expected = fresh(tiny_model, old_row // 2, words)
        torch.testing.assert_close(log_probs[row].double(), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_sentences_can_leave_more_than_once(tiny_model: Transformer) -> None:
    step, state = ModelStep(tiny_model), ModelState(tiny_model, SOURCE_IDS)
    step(torch.full((3, 1), 2), state)
    state.reorder(torch.tensor([1, 2]), torch.tensor([1, 2]))
    step(torch.tensor([[7], [8]]), state)
    state.reorder(torch.tensor([1]), torch.tensor([1]))
    log_probs, _ = step(torch.tensor([[9]]), state)
    torch.testing.assert_close(log_probs[0].double(), fresh(tiny_model, 2, [2, 8, 9]), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_log_probabilities_are_fp32_and_sum_to_one_even_for_a_bf16_model(tiny_model: Transformer) -> None:
    model = copy.deepcopy(tiny_model).bfloat16()
    log_probs, _ = ModelStep(model)(torch.full((3, 1), 2), ModelState(model, SOURCE_IDS))
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(3))
