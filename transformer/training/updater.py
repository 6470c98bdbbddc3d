"""One update: the gradients of its micro-batches, one optimizer step, and what may go wrong in between.

An update depends only on the weights, its sentences, the run's seed and its number. It can therefore be repeated: as it
was after a transient fault, in smaller micro-batches when memory runs out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from transformer.data.batch import Batch, collate
from transformer.data.batching import Update
from transformer.errors import UserError, is_out_of_memory
from transformer.model.encoder import Stack
from transformer.run.state import TrainingState
from transformer.runtime.distributed import Processes
from transformer.runtime.seeding import update_seed
from transformer.training.loss import LossSums
from transformer.training.machine.parallelize import Sharded, gradients_stay_local, unwrapped, whole
from transformer.training.methods.weight_average import WeightAverage

_ANY_TOKEN = 4  # the first id that is not special

MicroBatches = list[tuple[Batch, bool]]
"""The batches of this process, and whether each counts or only keeps the processes in step (`data.batching.Update`)."""


@dataclass
class UpdateOutcome:
    """What became of an update.

    Attributes:
        measured: the micro-batches of this process that count, with their sums; empty if the update was skipped.
        skipped: whether the weights stayed as they were, because the gradients were not finite twice.
        out_of_memory: how often it was repeated for want of memory.
        repeated: how often it was repeated because the gradients were not finite.
    """

    measured: list[tuple[Batch, LossSums]] = field(default_factory=list)
    skipped: bool = False
    out_of_memory: int = 0
    repeated: int = 0

    def count_faults(self, state: TrainingState) -> list[str]:
        """Count what went wrong in the run's state, and return a sentence for each fault."""
        state.out_of_memory += self.out_of_memory
        state.skipped_in_a_row = state.skipped_in_a_row + 1 if self.skipped else 0
        state.skipped += self.skipped
        faults = []
        if self.out_of_memory:
            smaller = ", at last in smaller pieces" if self.out_of_memory > 1 else ""
            faults.append(f"out of memory, tried again {self.out_of_memory}×{smaller}")
        if self.repeated and not self.skipped:
            faults.append("the gradients were not finite, and were when computed again")
        if self.skipped:
            faults.append("left out: its gradients are not finite")
        return faults


@dataclass(eq=False)
class Updater:
    """Does updates.

    Args:
        objective: an `Objective`, as `parallelize` returns it.
        max_gradient_norm: gradients are scaled down to this norm; None: never.
        average: takes in the model's weights after each update.
    """

    objective: nn.Module
    optimizer: torch.optim.Optimizer
    max_gradient_norm: float | None
    seed: int
    processes: Processes
    device: torch.device
    average: WeightAverage | None = None

    def __post_init__(self) -> None:
        # a process that fails while the others gather a layer would leave them waiting
        self.may_repeat = not isinstance(self.objective, Sharded)
        self.stacks = [module for module in self.objective.modules() if isinstance(module, Stack)]

    def __call__(self, update: Update, number: int, learning_rate: float) -> UpdateOutcome:
        """Do the update of that number, repeated where that may help.

        Raises:
            UserError: where single sentences do not fit into memory.
        """
        outcome = self.attempts(update, number, learning_rate)
        if self.average is not None:  # after a skipped update too: all of them count alike
            self.average.add(number)
        return outcome

    def attempts(self, update: Update, number: int, learning_rate: float) -> UpdateOutcome:
        """As `__call__`, but for the average."""
        outcome = UpdateOutcome()
        while True:
            halvings = max(0, outcome.out_of_memory - 1)  # at first repeat it as it was: freed memory may suffice
            micro_batches = update.micro_batches(halvings)
            sums = self.add_gradients(micro_batches, update.num_target_tokens, number)
            if sums is None:
                self.forget_gradients()
                if outcome.out_of_memory:
                    self.refuse_single(micro_batches, number)
                outcome.out_of_memory += 1
                continue
            # a bit may flip in one process alone, after the exchange
            if not self.processes.any(not math.isfinite(self.gradient_norm())):
                self.step(learning_rate)
                counted = zip(micro_batches, sums, strict=True)
                outcome.measured = [(batch, own) for (batch, counts), own in counted if counts]
                return outcome
            self.forget_gradients()
            if outcome.repeated:
                outcome.skipped = True
                return outcome
            outcome.repeated += 1  # a flipped bit will not be there again

    def refuse_single(self, micro_batches: MicroBatches, number: int) -> None:
        """Raise a `UserError` where no process can make its micro-batches any smaller."""
        if not self.processes.any(any(len(batch.labels) > 1 for batch, _ in micro_batches)):
            raise UserError(
                f"update {number}: not even single sentences fit into memory; lower data.max_length or model.d_model"
            )

    def add_gradients(self, micro_batches: MicroBatches, tokens: int, number: int) -> list[LossSums] | None:
        """Forward and backward of an update's micro-batches; None where a process ran out of memory.

        The processes exchange gradients in the last backward. If one of several runs out of memory there, it ends, and
        the job with it.
        """
        torch.manual_seed(update_seed(self.seed, number, "dropout", self.processes.rank))
        sums, loss, fits = list[LossSums](), None, True
        try:
            with gradients_stay_local(self.objective):
                for micro_batch in micro_batches[:-1]:
                    sums.append(self.forward(micro_batch, number))
                    torch.autograd.backward(self.loss(sums[-1], micro_batch, tokens))
            sums.append(self.forward(micro_batches[-1], number))
            loss = self.loss(sums[-1], micro_batches[-1], tokens)
        except RuntimeError as error:
            if not self.may_repeat or not is_out_of_memory(error):
                raise
            fits = False
        if self.processes.any(not fits) or loss is None:
            sums, loss = [], None  # and with them what the backward would have needed
            self.end_exchange(number)
            return None
        try:
            torch.autograd.backward(loss)
        except RuntimeError as error:
            if self.processes.size > 1 or not is_out_of_memory(error):
                raise
            return None
        return sums

    def end_exchange(self, number: int) -> None:
        """Let DDP finish an exchange of gradients that some processes have begun and others could not, with the
        gradients of a single token; they are thrown away."""
        if self.processes.size > 1:
            token = collate([[_ANY_TOKEN]], [[_ANY_TOKEN]]), False
            torch.autograd.backward(self.loss(self.forward(token, number), token, 1))

    def rehearse(self, batch: Batch) -> None:
        """Forward and backward of a batch in this process alone; the caller throws the gradients away.

        Raises:
            RuntimeError: where it does not fit into memory.
        """
        sums: LossSums = unwrapped(self.objective)(*batch.to(self.device).fields())
        torch.autograd.backward(sums.loss / batch.num_target_tokens)

    def forward(self, micro_batch: tuple[Batch, bool], number: int) -> LossSums:
        for index, stack in enumerate(self.stacks):  # the same layers for all micro-batches and processes of an update
            stack.layer_generator.manual_seed(update_seed(self.seed, number, "layers", index))
        sums: LossSums = self.objective(*micro_batch[0].to(self.device).fields())
        return sums

    def loss(self, sums: LossSums, micro_batch: tuple[Batch, bool], tokens: int) -> Tensor:
        """Scaled so that the mean of the processes' gradients is the gradient of one process with all their batches."""
        loss = sums.loss / (tokens / self.processes.size)
        return loss if micro_batch[1] else loss * 0.0

    def gradient_norm(self) -> float:
        """The norm of all gradients together, which are then scaled down to `max_gradient_norm`."""
        parameters = list(self.objective.parameters())
        if self.max_gradient_norm is not None:
            return float(whole(torch.nn.utils.clip_grad_norm_(parameters, self.max_gradient_norm)))
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return float(whole(torch.nn.utils.get_total_norm(gradients)))

    def step(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def weights_are_finite(self) -> bool:
        """Whether every weight is a finite number, in all processes."""
        finite = [whole(weight.detach().isfinite().all()) for weight in self.objective.parameters()]
        return not self.processes.any(not torch.stack(finite).all())
