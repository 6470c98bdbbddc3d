"""An update and what may go wrong in it: memory that does not suffice, gradients that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.data.batching import Update
from transformer.errors import UserError
from transformer.training.loss import LossSums
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
OPTIONS = ("model.dropout=0.3", "training.max_gradient_norm=1.0", "training.epsilon=0.01")


class Faulty(nn.Module):
    """An objective whose forward or loss goes wrong at some of its calls, counted from 1."""

    def __init__(self, objective: nn.Module, fault: Callable[[int, Tensor], float | None]) -> None:
        super().__init__()
        self.objective = objective
        self.fault = fault
        self.calls = 0

    def forward(self, source_ids: Tensor, *others: Tensor) -> LossSums:
        self.calls += 1
        factor = self.fault(self.calls, source_ids)
        sums: LossSums = self.objective(source_ids, *others)
        return sums if factor is None else LossSums(sums.loss * factor, sums.negative_log_likelihood)


def faulty(trainer: Trainer, fault: Callable[[int, Tensor], float | None]) -> Trainer:
    trainer.updater.objective = Faulty(trainer.updater.objective, fault)
    return trainer


def no_memory(*calls: int) -> Callable[[int, Tensor], None]:
    def fault(call: int, ids: Tensor) -> None:
        if call in calls:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    return fault


def poisoned(*calls: int, by: float = math.nan) -> Callable[[int, Tensor], float | None]:
    return lambda call, ids: by if call in calls else None


def weights(trainer: Trainer) -> Tensor:
    return nn.utils.parameters_to_vector(trainer.model.parameters()).detach().clone()


def trained(trainer: Trainer) -> Tensor:
    trainer.fit()
    return weights(trainer)


@pytest.mark.parametrize("fault", [no_memory(3), poisoned(3), poisoned(1, by=math.inf), poisoned(2, 4)])
@pytest.mark.parametrize("limit", ["null", "16"])
def test_a_passing_fault_changes_no_bit(
    make_trainer: MakeTrainer, fault: Callable[[int, Tensor], float | None], limit: str
) -> None:
    options = [*OPTIONS, f"training.micro_batch_tokens={limit}"]
    undisturbed = trained(make_trainer(*options, directory="undisturbed"))
    trainer = faulty(make_trainer(*options), fault)
    assert torch.equal(trained(trainer), undisturbed)
    assert trainer.state.skipped == 0
    assert trainer.listeners[0].of("fault")


def test_an_update_that_does_not_fit_is_split_until_it_does(make_trainer: MakeTrainer) -> None:
    def small_memory(call: int, ids: Tensor) -> None:
        if ids.numel() > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")

    options = "training.epsilon=0.01", "validation.every=6"
    whole = make_trainer(*options, directory="whole")
    split = faulty(make_trainer(*options), small_memory)
    torch.testing.assert_close(trained(split), trained(whole), rtol=1e-4, atol=1e-5)
    assert split.state.out_of_memory >= 6 * 2
    losses = [[record["loss"] for record in trainer.listeners[0].of("train")] for trainer in (split, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_sentence_that_never_fits_ends_training_with_advice(make_trainer: MakeTrainer) -> None:
    trainer = faulty(make_trainer(), no_memory(*range(1000)))
    with pytest.raises(UserError, match=r"update 1: not even single sentences fit .* lower data\.max_length"):
        trainer.fit()


def test_another_error_is_not_taken_for_want_of_memory(make_trainer: MakeTrainer) -> None:
    def broken(call: int, ids: Tensor) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        faulty(make_trainer(), broken).fit()


def test_an_update_without_finite_gradients_is_left_out_and_counted(make_trainer: MakeTrainer) -> None:
    trainer = faulty(make_trainer("training.max_updates=4", "training.log_every=4"), poisoned(2, 3))
    seen: list[Tensor] = []
    trainer.advance = lambda: seen.append(weights(trainer))
    trainer.fit()
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert (trainer.state.skipped, trainer.state.skipped_in_a_row, trainer.state.update) == (1, 0, 4)
    (record,) = trainer.listeners[0].of("fault")
    assert (record["update"], record["what"]) == (2, "left out: its gradients are not finite")
    assert math.isfinite(trainer.listeners[0].of("train")[0]["loss"])


def test_after_too_many_in_a_row_the_run_goes_back_with_half_the_rate(make_trainer: MakeTrainer) -> None:
    """Updates 3 and 4 are poisoned, each of them twice; the checkpoint of update 2 is where it goes on."""
    trainer = faulty(make_trainer("training.max_skipped_updates=2"), poisoned(3, 4, 5, 6))
    rates: list[tuple[int, float]] = []
    trainer.advance = lambda: rates.append((trainer.state.update, trainer.updater.optimizer.param_groups[0]["lr"]))
    trainer.fit()
    assert [update for update, _ in rates] == [1, 2, 3, 4, 3, 4, 5, 6]
    assert rates[-1][1] == trainer.learning_rate(6) == make_trainer(directory="other").learning_rate(6) / 2
    assert (trainer.state.rewinds, trainer.state.learning_rate_factor, trainer.state.update) == (1, 0.5, 6)
    record = trainer.listeners[0].of("fault")[-1]
    assert record["update"] == 2 and "back here from update 4" in record["what"] and "0.5 times" in record["what"]


def test_a_run_that_goes_on_after_a_rewind_keeps_its_rate(make_trainer: MakeTrainer) -> None:
    faulty(make_trainer("training.max_skipped_updates=2"), poisoned(3, 4, 5, 6)).fit()
    again = make_trainer("training.max_updates=8")
    assert (again.state.learning_rate_factor, again.state.rewinds) == (0.5, 1)


def test_the_layers_of_an_update_are_the_same_in_all_its_micro_batches(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("model.layer_drop=0.5", "model.num_encoder_layers=6")
    drawn: list[list[int]] = []
    stack, kept_layers = trainer.model.encoder, trainer.model.encoder.kept_layers

    def watched() -> list[tuple[int, nn.Module]]:
        kept = list(kept_layers())
        drawn.append([number for number, _ in kept])
        return kept

    stack.kept_layers = watched  # type: ignore[method-assign, assignment]
    trainer.model.train()
    update: Update = next(iter(trainer.stream))
    trainer.updater.add_gradients(update.micro_batches(2), update.num_target_tokens, 1)
    assert len(drawn) > 2 and all(layers == drawn[0] for layers in drawn)
    trainer.updater.add_gradients(update.micro_batches(), update.num_target_tokens, 2)
    assert drawn[-1] != drawn[0]
