"""The arithmetic of a training update, and how much of it this machine can do per second.

D d_model, F d_ff, V vocabulary, S and T source and target length, B sentences of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from transformer.config import ModelSection
from transformer.data.batch import Batch


def training_flops(options: ModelSection, target_vocab_size: int, batches: Sequence[Batch]) -> float:
    """Floating-point operations of the matrix products of forward and backward; counts padding only in attention.

    Six per weight and token: two in the forward pass, two for the gradient of the input, two for that of the weight
    (Kaplan et al. 2020, section 2.1). Encoder weights, and the keys and values of cross-attention, process source
    tokens; all others process target tokens. Attention itself takes two products per layer, 4·D·L·L' per sentence.
    """
    width, hidden = options.d_model, options.d_ff
    encoders, decoders = options.num_encoder_layers, options.num_decoder_layers
    source_weights = encoders * (4 * width**2 + 2 * width * hidden) + decoders * 2 * width**2
    target_weights = decoders * (6 * width**2 + 2 * width * hidden) + target_vocab_size * width
    total = 0.0
    for batch in batches:
        sentences, source = batch.source_ids.shape
        target = batch.labels.shape[1]
        pairs = encoders * source**2 + decoders * (target**2 + source * target)  # of positions
        total += 6 * (source_weights * batch.num_source_tokens + target_weights * batch.num_target_tokens)
        total += 3 * 4 * width * sentences * pairs
    return total


def product_ceiling(device: torch.device, dtype: torch.dtype, size: int = 2048, seconds: float = 2.0) -> float:
    """Operations per second of a large square product, the best of several windows: the denominator of MFU."""
    if device.type != "cpu":
        size = 8192
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(5):
            product = a @ b
        float(product[0, 0])  # waits for the device
        best = max(best, 5 * 2 * size**3 / (time.perf_counter() - start))
    return best
