"""The matrix products of attention in training on a CPU: many, small, and of ever new sizes."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


@contextlib.contextmanager
def many_small_products(query: Tensor) -> Iterator[None]:
    """In training on a CPU, send the fp32 products inside to the BLAS library even where others go to oneDNN
    (`torch.set_float32_matmul_precision`): oneDNN plans each new shape anew, ten times the cost of a small product.

    The setting belongs to the whole process, so only training changes it, in its one thread. Decoding, where several
    threads may translate at once, leaves it alone and runs in the default precision (`configure_process`).
    """
    in_training = query.requires_grad and not torch.compiler.is_compiling()  # a compiled region cannot change it
    if not in_training or query.device.type != "cpu" or query.dtype != torch.float32:
        yield
        return
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
