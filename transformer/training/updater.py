"""One update: gradients of the micro-batches, the optimizer's step, and what may go wrong in between.

An update depends on the weights, its sentences, the run's seed and its number alone, so that it can be done again: as
it was after a passing fault, in smaller micro-batches where memory does not suffice.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transformer.data.batch import Batch, collate
from transformer.data.batching import Update
from transformer.errors import UserError, is_out_of_memory
from transformer.model.encoder import Stack
from transformer.runtime.distributed import Processes
from transformer.runtime.seeding import update_seed
from transformer.training.loss import LossSums
from transformer.training.machine.parallelize import gradients_stay_local, is_sharded, unwrapped, whole
from transformer.training.noise_scale import Measured, noise_terms

_ANY_TOKEN = 4  # the first that is not special


@dataclass
class UpdateOutcome:
    """What became of an update.

    Attributes:
        measured: each counted micro-batch of this process with its sums; empty where the update was left out.
        finite: whether the weights were changed; False: the gradients were not finite, twice.
        out_of_memory: how often it did not fit.
        repeated: how often it was done again because the gradients were not finite.
        noise: the terms of the gradient noise scale, where this update measured them.
    """

    measured: list[tuple[Batch, LossSums]]
    finite: bool = True
    out_of_memory: int = 0
    repeated: int = 0
    noise: tuple[float, float] | None = None


class Updater:
    """Does updates.

    Args:
        objective: batch fields → sums, as `parallelize` gives it.
        optimizer: over the objective's parameters.
        max_gradient_norm: gradients are scaled down to this; None: never.
        seed: the run's.
        processes: of the job.
        device: of the model.
        noise_scale_every: every so many updates are done in two halves, whose gradients are compared; None: never.
    """

    def __init__(
        self,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        max_gradient_norm: float | None,
        seed: int,
        processes: Processes,
        device: torch.device,
        noise_scale_every: int | None = None,
    ) -> None:
        self.noise_scale_every = noise_scale_every
        self.objective = objective
        self.optimizer = optimizer
        self.max_gradient_norm = max_gradient_norm
        self.seed = seed
        self.processes = processes
        self.device = device
        # a process that fails while others gather the pieces of a layer leaves them waiting
        self.may_repeat = not is_sharded(objective)
        self.norm_of_half = 0.0
        self.stacks = [module for module in objective.modules() if isinstance(module, Stack)]

    def __call__(self, update: Update, number: int, learning_rate: float) -> UpdateOutcome:
        """Do the update of that number, again where that may help.

        Raises:
            UserError: where single sentences do not fit into memory.
        """
        outcome = UpdateOutcome([])
        while True:
            halvings = max(0, outcome.out_of_memory - 1)  # first once more as it was: freed memory may suffice
            micro_batches, first = self.micro_batches(update, number, halvings)
            sums = self.add_gradients(micro_batches, update.num_target_tokens, number, first)
            if sums is None:
                self.forget_gradients()
                if outcome.out_of_memory:
                    self.refuse_single(micro_batches, number)
                outcome.out_of_memory += 1
                continue
            # a bit may flip in one process alone, after the exchange
            norm = self.gradient_norm()
            if not self.processes.any(not math.isfinite(norm)):
                if first is not None:
                    tokens = update.num_target_tokens
                    outcome.noise = noise_terms(self.half(micro_batches[:first], tokens), Measured(norm**2, tokens))
                self.step(learning_rate)
                outcome.measured = [
                    (batch, own) for (batch, counts), own in zip(micro_batches, sums, strict=True) if counts
                ]
                return outcome
            self.forget_gradients()
            if outcome.repeated:
                outcome.finite = False
                return outcome
            outcome.repeated += 1  # a flipped bit is not there again

    def micro_batches(self, update: Update, number: int, halvings: int) -> tuple[list[tuple[Batch, bool]], int | None]:
        """An update's micro-batches, and how many of them are its first half; None: it is not halved."""
        halved = self.noise_scale_every is not None and number % self.noise_scale_every == 0
        parts = [part.micro_batches(halvings) for part in (update.halves() if halved else [update])]
        return list(itertools.chain(*parts)), len(parts[0]) if len(parts) > 1 else None

    def refuse_single(self, micro_batches: list[tuple[Batch, bool]], number: int) -> None:
        """Refuse an update whose micro-batches no process can cut any smaller.

        Raises:
            UserError: where that is so.
        """
        if not self.processes.any(any(len(batch.labels) > 1 for batch, _ in micro_batches)):
            raise UserError(
                f"update {number}: not even single sentences fit into memory; lower data.max_length or model.d_model"
            )

    def add_gradients(
        self, micro_batches: list[tuple[Batch, bool]], tokens: int, number: int, first: int | None = None
    ) -> list[LossSums] | None:
        """Forward and backward of an update's micro-batches; None where a process has not enough memory. The norm of
        the first so many's gradient is noted where it is asked for.

        The processes exchange gradients in the last backward. Memory that does not suffice there, among several, ends
        this process, and the job with it.
        """
        torch.manual_seed(update_seed(self.seed, number, "dropout", self.processes.rank))
        sums, loss, fits = list[LossSums](), None, True
        try:
            with gradients_stay_local(self.objective):
                sums = self.add_local_gradients(micro_batches[:-1], tokens, number, first)
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
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if self.processes.size > 1 or not is_out_of_memory(error):
                raise
            return None
        return sums

    def add_local_gradients(
        self, micro_batches: list[tuple[Batch, bool]], tokens: int, number: int, first: int | None
    ) -> list[LossSums]:
        """Forward and backward of all micro-batches but the last; see `add_gradients`."""
        sums = list[LossSums]()
        for micro_batch in micro_batches:
            sums.append(self.forward(micro_batch, number))
            self.loss(sums[-1], micro_batch, tokens).backward()  # type: ignore[no-untyped-call]
            if len(sums) == first:
                self.norm_of_half = self.total_norm()
        return sums

    def end_exchange(self, number: int) -> None:
        """Let DDP end an exchange of gradients that some processes have begun and others could not: with those of one
        token, which are forgotten."""
        if self.processes.size > 1:
            token = collate([[_ANY_TOKEN]], [[_ANY_TOKEN]]), False
            self.loss(self.forward(token, number), token, 1).backward()  # type: ignore[no-untyped-call]

    def rehearse(self, batch: Batch) -> None:
        """Forward and backward of a batch, which no other process takes part in; its gradients are to be forgotten.

        Raises:
            RuntimeError: where it does not fit into memory.
        """
        objective = unwrapped(self.objective)
        fields = batch.to(self.device).fields()
        (objective(*fields).loss / batch.num_target_tokens).backward()

    def forward(self, micro_batch: tuple[Batch, bool], number: int) -> LossSums:
        for index, stack in enumerate(self.stacks):  # the same layers for all micro-batches and processes of an update
            stack.layer_generator.manual_seed(update_seed(self.seed, number, "layers", index))
        return self.objective(*micro_batch[0].to(self.device).fields())  # type: ignore[no-any-return]

    def loss(self, sums: LossSums, micro_batch: tuple[Batch, bool], tokens: int) -> Tensor:
        """What is differentiated: the processes' mean gradient is to be that of one process with all their batches."""
        loss = sums.loss / (tokens / self.processes.size)
        return loss if micro_batch[1] else loss * 0.0

    def gradient_norm(self) -> float:
        """The norm of all gradients, which are then scaled down to `max_gradient_norm`."""
        parameters = list(self.objective.parameters())
        if self.max_gradient_norm is not None:
            return float(whole(torch.nn.utils.clip_grad_norm_(parameters, self.max_gradient_norm)))
        return self.total_norm()

    def total_norm(self) -> float:
        gradients = [parameter.grad for parameter in self.objective.parameters() if parameter.grad is not None]
        return float(whole(torch.nn.utils.get_total_norm(gradients)))

    def half(self, micro_batches: list[tuple[Batch, bool]], tokens: int) -> Measured:
        """The mean over the processes of what each noted of its own part of an update's first half."""
        own = sum(batch.num_target_tokens for batch, counts in micro_batches if counts)
        norm = self.norm_of_half * tokens / self.processes.size / max(1, own)  # of the mean over its own tokens
        sums = torch.tensor([norm**2, own], dtype=torch.float64)
        return Measured(*(self.processes.sum(sums) / self.processes.size).tolist())

    def step(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
