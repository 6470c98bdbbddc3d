"""What a model consists of and what it costs, found on PyTorch's meta device: nothing is computed or allocated.

B batch, S source length, T target length.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from transformer.model.cache import SelfAttentionCache
from transformer.model.transformer import Transformer
from transformer.model.variants.recurrent_cache import RecurrentCache

Result = TypeVar("Result")

_LENGTH = 32  # tokens of the sentences that costs are computed for, or fewer if the model takes no more
_LAYER = re.compile(r"^(encoder|decoder)\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Row:
    """One weight, or the corresponding weights of all layers of a stack."""

    name: str  # as in checkpoints, with `*` for the number of a layer
    shape: tuple[int, ...]  # of a single copy
    copies: int  # 1, or the number of layers
    parameters: int  # numbers in all copies together


@dataclass(frozen=True)
class Costs:
    """What a token costs, in sentences of 32 tokens.

    Attributes:
        source_flops, target_flops: operations of the forward pass per source and target token; a training update takes
            three times as many.
        cache_per_source_token, cache_per_target_token: numbers kept per token while a hypothesis grows.
        cache_per_hypothesis: numbers kept whatever the length (recurrent decoders).
        saved_per_pair: numbers that a training update keeps for its backward pass, per pair of a source and a target
            token. Logits do not count, because the loss computes their gradient at once.
    """

    source_flops: float
    target_flops: float
    cache_per_source_token: float
    cache_per_target_token: float
    cache_per_hypothesis: float
    saved_per_pair: float


def weights(model: Transformer) -> list[Row]:
    """Every weight once; corresponding weights of all layers share a row."""
    rows: dict[str, Row] = {}
    for name, parameter in model.named_parameters():  # tied weights come once
        general = _LAYER.sub(r"\1.layers.*.", name)
        before = rows.get(general)
        copies = 1 if before is None else before.copies + 1
        rows[general] = Row(general, tuple(parameter.shape), copies, copies * parameter.numel())
    return list(rows.values())


def costs(model: Transformer) -> Costs:
    """What a model on the meta device costs; it keeps no gradients afterwards."""
    length = min(_LENGTH, model.max_length or _LENGTH)
    ids = torch.ones(1, length, dtype=torch.int64, device="meta")
    model.train()
    saved = _saved(lambda: model.decode(ids, model.encode(ids)), model)
    model.eval()
    model.requires_grad_(False)  # PyTorch's counter fails on slices of weights that have gradients
    encoded, source_flops = _counted(lambda: model.encode(ids))
    _, target_flops = _counted(lambda: model.output(model.decode(ids, encoded)))
    cache = model.new_cache()
    model.decode(ids[:, :1], encoded, cache)
    of_source = sum(_numel(layer.cross_attention.keys, layer.cross_attention.values) for layer in cache.layers)
    own = [layer.self_attention for layer in cache.layers]
    recurrent = [kept for kept in own if isinstance(kept, RecurrentCache)]
    attentive = [kept for kept in own if isinstance(kept, SelfAttentionCache)]
    return Costs(
        source_flops / length,
        target_flops / length,
        of_source / length,
        sum(_numel(kept.keys, kept.values) / kept.values.shape[2] for kept in attentive if kept.values is not None),
        sum(_numel(kept.state) for kept in recurrent),
        saved / length,
    )


def _counted(work: Callable[[], Result]) -> tuple[Result, int]:
    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, counter.get_total_flops()


def _saved(work: Callable[[], object], model: nn.Module) -> int:
    """How many numbers autograd keeps, apart from the weights."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, tuple[Tensor, int]] = {}  # by storage; holding it keeps its address from being used again

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = tensor, storage.nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = work()
    del result
    return sum(numbers for _, numbers in kept.values())


def _numel(*tensors: Tensor | None) -> int:
    return sum(tensor.numel() for tensor in tensors if tensor is not None)
