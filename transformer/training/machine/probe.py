"""Trial runs of a forward and backward: the time and memory it takes, and how many tokens fit into a GPU's memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from transformer.data.batch import Batch, collate
from transformer.errors import UserError, is_out_of_memory
from transformer.model.encoder import Stack

Passes = Callable[[Batch], object]
"""Forward and backward of a batch."""

_MARGIN = 7 / 8  # of what fitted: real batches come in many sizes, which fragments memory


def worst_batch(tokens: int, longest: int, token_id: int) -> Batch:
    """As many sentences of `longest` tokens, without special ids, as fill `tokens` padded ones, with them, a side;
    `token_id` is any id that is not special."""
    sentences = [[token_id] * longest] * max(1, tokens // (longest + 1))
    return collate(sentences, sentences)


def micro_batch_tokens_that_fit(
    model: nn.Module, optimizer: Optimizer, compute_gradients: Passes, batch_tokens: int, longest: int, token_id: int
) -> int | None:
    """The most padded tokens a side that fit into a micro-batch, found by halving; None if a whole update fits.

    Leaves weights and gradients as they were.

    Args:
        batch_tokens: target tokens of an update.
        longest: tokens of the longest sentence, without special ids.
        token_id: any id that is not special.

    Raises:
        UserError: where not even one sentence of that length fits.
    """
    largest = 2 * batch_tokens  # no real update has more: with little padding, its source side is under twice as long
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
    """What a forward and backward took.

    Attributes:
        seconds: both together.
        saved_bytes: activations kept for the backward; weights and their copies in another precision do not count.
    """

    seconds: float
    saved_bytes: int


def try_batch(model: nn.Module, optimizer: Optimizer, compute_gradients: Passes, batch: Batch) -> Trial:
    """Do what an update does with a batch, with memory set aside for the optimizer's two numbers a weight.

    The model is in training mode. Leaves weights, gradients and optimizer as they were before an update.

    Raises:
        RuntimeError: where the batch does not fit into memory.
    """
    shapes = {tuple(shape) for weight in model.parameters() for shape in (weight.shape, weight.shape[::-1])}
    saved: dict[int, int] = {}  # bytes by address; no address is freed and reused before the backward

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
    """In this context no layer is skipped (`model.layer_drop`)."""
    stacks = {module: module.layer_drop for module in model.modules() if isinstance(module, Stack)}
    try:
        for stack in stacks:
            stack.layer_drop = 0.0
        yield
    finally:
        for stack, layer_drop in stacks.items():
            stack.layer_drop = layer_drop


def _fits(model: nn.Module, optimizer: Optimizer, compute_gradients: Passes, batch: Batch) -> bool:
    fits = True
    try:
        try_batch(model, optimizer, compute_gradients, batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return fits
