import gc
import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from transformer.data.batch import Batch
from transformer.errors import UserError
from transformer.training.machine import probe
from transformer.training.machine.probe import Trial, micro_batch_tokens_that_fit, try_batch, worst_batch
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
LONGEST = 15


class Memory:
    """A device on which batches of more than `room` padded tokens a side do not fit."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def __call__(self, batch: Batch) -> None:
        self.tried.append(batch.source_ids.numel())
        if batch.source_ids.numel() > self.room:
            raise torch.OutOfMemoryError("no room")


def linear() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    module = torch.nn.Linear(2, 2)
    return module, torch.optim.Adam(module.parameters())


@pytest.mark.parametrize(
    ("room", "expected", "tried"),
    [(10_000, None, [800]), (799, 350, [800, 400]), (399, 175, [800, 400, 192]), (20, 21, [800, 400, 192, 96, 48, 16])],
)
def test_the_largest_of_the_halves_that_fits(room: int, expected: int | None, tried: list[int]) -> None:
    """Batches are whole sentences of 16 tokens with their end mark: 200 tokens make 12 of them."""
    memory = Memory(room)
    found = micro_batch_tokens_that_fit(*linear(), memory, 400, LONGEST, token_id=5)
    assert found == expected
    assert memory.tried == tried


def test_a_sentence_that_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(UserError, match=r"not even one sentence of 15 tokens fits .* lower data\.max_length"):
        micro_batch_tokens_that_fit(*linear(), Memory(3), 400, LONGEST, token_id=5)


def test_the_worst_batch_is_all_of_the_greatest_length() -> None:
    batch = worst_batch(100, LONGEST, token_id=7)
    assert batch.source_ids.shape == batch.labels.shape == (6, 16)
    assert batch.num_source_tokens == batch.num_target_tokens == 96
    assert len(worst_batch(3, LONGEST, token_id=7).source_ids) == 1


def test_nothing_is_left_behind(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("model.dropout=0.1", "model.layer_drop=0.5")
    trainer.model.train()
    weights = [parameter.clone() for parameter in trainer.model.parameters()]
    own = trainer.model, trainer.updater.optimizer
    assert micro_batch_tokens_that_fit(*own, trainer.updater.rehearse, 40, 9, token_id=5) is None
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert all(map(torch.equal, weights, trainer.model.parameters()))
    assert trainer.interval.target_tokens == 0
    assert trainer.model.encoder.layer_drop == 0.5


def living_tensors() -> dict[int, int]:
    """The bytes of each tensor that there is."""
    return {id(found): found.nbytes for found in gc.get_objects() if type(found) is torch.Tensor}


def test_what_the_optimizer_holds_already_is_not_counted_twice(make_trainer: MakeTrainer) -> None:
    """While a batch is tried there is room for two numbers a weight, unless the optimizer has them."""
    trainer = make_trainer()
    own, reserved = (trainer.model, trainer.updater.optimizer), list[int]()

    def tried(batch: Batch) -> None:
        beside_it = {id(field) for field in vars(batch).values()}
        living = living_tensors().items()
        reserved.append(sum(size for tensor, size in living if tensor not in before and tensor not in beside_it))

    before = living_tensors()
    micro_batch_tokens_that_fit(*own, tried, 40, 9, token_id=5)
    trainer.fit()
    before = living_tensors()
    micro_batch_tokens_that_fit(*own, tried, 40, 9, token_id=5)
    assert reserved == [2 * sum(weight.nbytes for weight in trainer.model.parameters()), 0]


def test_no_layer_is_left_out_while_probing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("model.layer_drop=0.9")
    model, kept = trainer.model.train(), list[int]()
    own = model, trainer.updater.optimizer
    micro_batch_tokens_that_fit(*own, lambda batch: kept.append(len(list(model.encoder.kept_layers()))), 40, 9, 5)
    assert kept == [1]


def test_a_batch_is_tried_as_an_update_and_leaves_no_trace(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.count()  # at a clock, a second apart
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    trainer = make_trainer("model.dropout=0.1", "model.layer_drop=0.5")
    trainer.model.train()

    def tried(tokens: int) -> Trial:
        batch = worst_batch(tokens, LONGEST, token_id=5)
        return try_batch(trainer.model, trainer.updater.optimizer, trainer.updater.rehearse, batch)

    small, middle, large = tried(512), tried(1024), tried(1536)
    grown = middle.saved_bytes - small.saved_bytes
    assert grown > 512 * 16 * 4 * 10  # ten and more activations of fp32 a token
    assert large.saved_bytes - middle.saved_bytes == pytest.approx(grown, rel=0.05)
    assert (small.seconds, large.seconds) == (1, 1)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert not trainer.updater.optimizer.state
    assert trainer.model.encoder.layer_drop == 0.5


def test_a_batch_that_does_not_fit_leaves_no_trace_either(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("model.layer_drop=0.5")

    def full(_: Batch) -> None:
        next(iter(trainer.model.parameters())).sum().backward()
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        try_batch(trainer.model, trainer.updater.optimizer, full, worst_batch(10, 9, token_id=5))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert trainer.model.encoder.layer_drop == 0.5
