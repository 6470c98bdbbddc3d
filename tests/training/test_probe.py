from collections.abc import Callable

import pytest
import torch

from transformer.data.batch import Batch
from transformer.errors import UserError
from transformer.training.probe import micro_batch_tokens_that_fit, worst_batch
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
LONGEST = 15


class Memory:
    """A device on which batches of more than `room` padded tokens a side do not fit."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def __call__(self, batch: Batch) -> bool:
        self.tried.append(batch.source_ids.numel())
        if batch.source_ids.numel() > self.room:
            raise torch.OutOfMemoryError("no room")
        return True


@pytest.mark.parametrize(
    ("room", "expected", "tried"),
    [(10_000, None, [800]), (799, 350, [800, 400]), (399, 175, [800, 400, 192]), (20, 21, [800, 400, 192, 96, 48, 16])],
)
def test_the_largest_of_the_halves_that_fits(room: int, expected: int | None, tried: list[int]) -> None:
    """Batches are whole sentences of 16 tokens with their end mark: 200 tokens make 12 of them."""
    memory = Memory(room)
    found = micro_batch_tokens_that_fit(torch.nn.Linear(2, 2), memory, 400, LONGEST, token_id=5)
    assert found == expected
    assert memory.tried == tried


def test_a_sentence_that_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(UserError, match=r"not even one sentence of 15 tokens fits .* lower data\.max_length"):
        micro_batch_tokens_that_fit(torch.nn.Linear(2, 2), Memory(3), 400, LONGEST, token_id=5)


def test_the_worst_batch_is_all_of_the_greatest_length() -> None:
    batch = worst_batch(100, LONGEST, token_id=7)
    assert batch.source_ids.shape == batch.labels.shape == (6, 16)
    assert batch.num_source_tokens == batch.num_target_tokens == 96
    assert len(worst_batch(3, LONGEST, token_id=7).source_ids) == 1


def test_nothing_is_left_behind(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("model.dropout=0.1", "model.layer_drop=0.5")
    trainer.model.train()
    weights = [parameter.clone() for parameter in trainer.model.parameters()]
    before = torch.random.get_rng_state()
    updater = trainer.updater

    def compute(batch: Batch) -> bool:
        return updater.add_gradients([(batch, True)], batch.num_target_tokens, 0) is not None

    assert micro_batch_tokens_that_fit(trainer.model, compute, 40, 9, token_id=5) is None
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert all(map(torch.equal, weights, trainer.model.parameters()))
    assert trainer.interval.target_tokens == 0
    assert trainer.model.encoder.layer_drop == 0.5


def test_no_layer_is_left_out_while_probing(make_trainer: MakeTrainer) -> None:
    model = make_trainer("model.layer_drop=0.9").model.train()
    kept = list[int]()

    def compute(batch: Batch) -> bool:
        kept.append(len(list(model.encoder.kept_layers())))
        return True

    micro_batch_tokens_that_fit(model, compute, 40, 9, 5)
    assert kept == [1]
