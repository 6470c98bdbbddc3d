"""How many tokens of one forward and backward fit into a GPU's memory, found by trying the worst batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from transformer.data.batch import Batch, collate
from transformer.errors import UserError
from transformer.model.stack import Stack

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
    model: nn.Module, compute_gradients: Callable[[Batch], bool], batch_tokens: int, longest: int, token_id: int
) -> int | None:
    """The most padded tokens a side of a micro-batch, by halves; None where a whole update fits.

    Leaves weights, gradients and random numbers as they were.

    Args:
        model: on its device, whose optimizer keeps two numbers for each weight.
        compute_gradients: forward and backward of a batch; whether memory sufficed.
        batch_tokens: target tokens of an update.
        longest: tokens of the longest sentence, without special ids.
        token_id: any that is not special.

    Raises:
        UserError: where not even one sentence of that length fits.
    """
    largest = 2 * batch_tokens  # an update has less padding, and a source side less than twice as long
    tokens = largest
    with torch.random.fork_rng(), _all_layers(model):
        while not _fits(model, compute_gradients, worst_batch(tokens, longest, token_id)):
            tokens //= 2
            if tokens <= longest:
                device = next(model.parameters()).device
                raise UserError(
                    f"not even one sentence of {longest} tokens fits into the memory of {device}; "
                    "lower data.max_length or model.d_model"
                )
    return None if tokens == largest else int(tokens * _MARGIN)


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


def _fits(model: nn.Module, compute_gradients: Callable[[Batch], bool], batch: Batch) -> bool:
    reserved: list[Tensor] = []  # what the optimizer will keep
    try:
        reserved = [torch.zeros_like(parameter) for parameter in model.parameters() for _ in range(2)]
        fits = compute_gradients(batch)
    except torch.OutOfMemoryError:
        fits = False
    del reserved
    model.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return fits
