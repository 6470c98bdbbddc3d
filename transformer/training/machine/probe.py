"""What one forward and backward take, and how many tokens of one fit into a GPU's memory, found by trying."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transformer.data.batch import Batch, collate
from transformer.errors import UserError, is_out_of_memory
from transformer.model.encoder import Stack

_MARGIN = 7 / 8  # of what fitted: real batches come in many sizes, and freed memory falls into pieces


def worst_batch(tokens: int, longest: int, token_id: int) -> Batch:
    """As many sentences of the greatest length as have so many tokens on either side.

    Args:
        tokens: padded tokens a side, special ids included.
        longest: tokens of a sentence, without special ids.
        token_id: any that is not special.
    """
    sentences = [[token_id] * longest] * max(1, tokens // (longest + 1))
    return collate(sentences, sentences)


def micro_batch_tokens_that_fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    compute_gradients: Callable[[Batch], object],
    batch_tokens: int,
    longest: int,
    token_id: int,
) -> int | None:
    """The most padded tokens a side of a micro-batch, by halves; None where a whole update fits.

    Leaves weights and gradients as they were.

    Args:
        model: on its device.
        optimizer: over the model's parameters.
        compute_gradients: forward and backward of a batch.
        batch_tokens: target tokens of an update.
        longest: tokens of the longest sentence, without special ids.
        token_id: any that is not special.

    Raises:
        UserError: where not even one sentence of that length fits.
    """
    largest = 2 * batch_tokens  # an update has less padding, and a source side less than twice as long
    tokens = largest
    while not _fits(model, optimizer, compute_gradients, worst_batch(tokens, longest, token_id)):
        tokens //= 2
        if tokens <= longest:
            device = next(model.parameters()).device
            raise UserError(
                f"not even one sentence of {longest} tokens fits into the memory of {device}; "
                "lower data.max_length or model.d_model"
            )
    return None if tokens == largest else int(tokens * _MARGIN)


@dataclass(frozen=True)
class Trial:
    """A forward and backward that was tried.

    Attributes:
        seconds: of both.
        saved_bytes: what was kept from the one for the other, beside weights and their copies in another precision.
    """

    seconds: float
    saved_bytes: int


def try_batch(
    model: nn.Module, optimizer: torch.optim.Optimizer, compute_gradients: Callable[[Batch], object], batch: Batch
) -> Trial:
    """Do what an update does with a batch, with room for the two numbers that the optimizer keeps for each weight.

    Leaves weights, gradients and optimizer as they were before an update.

    Args:
        model: in training mode, on its device.
        optimizer: over the model's parameters.
        compute_gradients: forward and backward of a batch.
        batch: what is tried.

    Raises:
        RuntimeError: where the batch does not fit into memory.
    """
    shapes = {tuple(shape) for weight in model.parameters() for shape in (weight.shape, weight.shape[::-1])}
    saved: dict[int, int] = {}  # bytes by address: none is given back, and used again, before the backward pass

    def note(tensor: Tensor) -> Tensor:
        if tuple(tensor.shape) not in shapes:
            saved[tensor.data_ptr()] = max(tensor.nbytes, saved.get(tensor.data_ptr(), 0))
        return tensor

    new = [weight for weight in model.parameters() if weight not in optimizer.state]
    start = time.perf_counter()
    with _all_layers(model), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        try:
            reserved = [torch.zeros_like(weight) for weight in new for _ in range(2)]
            compute_gradients(batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        finally:
            model.zero_grad(set_to_none=True)
    del reserved
    return Trial(time.perf_counter() - start, sum(saved.values()))


@contextlib.contextmanager
def _all_layers(model: nn.Module) -> Iterator[None]:
    """While the context is open no layer is left out (`model.layer_drop`)."""
    stacks = {module: module.layer_drop for module in model.modules() if isinstance(module, Stack)}
    try:
        for stack in stacks:
            stack.layer_drop = 0.0
        yield
    finally:
        for stack, layer_drop in stacks.items():
            stack.layer_drop = layer_drop


def _fits(
    model: nn.Module, optimizer: torch.optim.Optimizer, compute_gradients: Callable[[Batch], object], batch: Batch
) -> bool:
    try:
        try_batch(model, optimizer, compute_gradients, batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    else:
        fits = True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return fits
