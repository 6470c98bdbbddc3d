"""Inject faults into a training: non-finite gradients and failed memory allocations, each once.

    python scripts/lab/faults/injection.py PLAN train CONFIG …

PLAN is `none`, or a list of faults such as `nan@7,memory@12/1`: the kind, the call of the objective (counted from 1 in
each process), and optionally the only rank to fail. A verb and its arguments follow.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Callable

KINDS = ("nan", "memory")


def inject(plan: str) -> None:
    """Make the objective fail as planned in this process."""
    from torch import nn

    from transformer.training.loss import LossSums
    from transformer.training.methods.r_drop import RDrop
    from transformer.training.objective import CrossEntropy

    faults, rank = {}, os.environ.get("RANK", "0")
    for part in plan.split(",") if plan != "none" else []:
        kind, place = part.split("@")
        call, _, only = place.partition("/")
        if only in ("", rank):
            faults[int(call)] = kind
    calls = itertools.count(1)

    def failing(forward: Callable[..., LossSums]) -> Callable[..., LossSums]:
        def faulty(objective: nn.Module, *batch: object) -> LossSums:
            kind = faults.get(next(calls))
            if kind == "memory":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory (injected)")
            sums = forward(objective, *batch)
            return LossSums(sums.loss * math.nan, sums.negative_log_likelihood) if kind == "nan" else sums

        return faulty

    CrossEntropy.forward = failing(CrossEntropy.forward)  # type: ignore[method-assign]
    RDrop.forward = failing(RDrop.forward)  # type: ignore[method-assign]


if __name__ == "__main__":
    from transformer.__main__ import main

    inject(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
