"""The updates between two log lines, summed up on the device so that no update waits for the host."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from transformer.data.batch import Batch
from transformer.runtime.distributed import Processes
from transformer.training.loss import LossSums, perplexity


class LogInterval:
    """Loss, tokens, padding and speed since the last log line; `saved`: of an interrupted interval, by `to_json`."""

    def __init__(self, device: torch.device, saved: dict[str, float] | None = None) -> None:
        saved = saved or {}
        self._device = device
        self._loss = self._scalar(saved.get("loss", 0.0))
        self._negative_log_likelihood = self._scalar(saved.get("negative_log_likelihood", 0.0))
        self.target_tokens = int(saved.get("target_tokens", 0))
        self.real_tokens = int(saved.get("real_tokens", 0))
        self.padded_tokens = int(saved.get("padded_tokens", 0))
        self.seconds = saved.get("seconds", 0.0)

    def _scalar(self, value: float) -> Tensor:
        dtype = torch.float32 if self._device.type == "mps" else torch.float64  # MPS has no float64
        return torch.tensor(value, dtype=dtype, device=self._device)

    def add(self, batch: Batch, sums: LossSums) -> None:
        """Count a micro-batch."""
        self._loss += sums.loss.detach()
        self._negative_log_likelihood += sums.negative_log_likelihood
        self.target_tokens += batch.num_target_tokens
        self.real_tokens += batch.num_source_tokens + batch.num_target_tokens
        self.padded_tokens += batch.num_padded_tokens

    def add_seconds(self, since: float) -> None:
        """Count the time from `since` (of `time.perf_counter`) until now as training."""
        self.seconds += time.perf_counter() - since

    def collect(self, processes: Processes) -> None:
        """Move the sums of all processes to the main one; each keeps its own seconds."""
        if processes.size == 1:
            return
        counts = self.target_tokens, self.real_tokens, self.padded_tokens
        sums = processes.sum(
            torch.tensor([float(self._loss), float(self._negative_log_likelihood), *counts], dtype=torch.float64)
        ) * float(processes.is_main)
        self._loss, self._negative_log_likelihood = map(self._scalar, sums[:2].tolist())
        self.target_tokens, self.real_tokens, self.padded_tokens = map(int, sums[2:].tolist())

    def summary(self) -> dict[str, float]:
        """The interval's means; waits for the device."""
        tokens = max(1, self.target_tokens)
        return {
            "loss": float(self._loss) / tokens,
            "perplexity": perplexity(float(self._negative_log_likelihood) / tokens),
            "target_tokens_per_second": self.target_tokens / self.seconds if self.seconds else 0.0,
            "padding_share": 1 - self.real_tokens / max(1, self.padded_tokens),
        }

    def to_json(self) -> dict[str, float]:
        """The sums, for a checkpoint in the middle of an interval."""
        return {
            "loss": float(self._loss),
            "negative_log_likelihood": float(self._negative_log_likelihood),
            "target_tokens": self.target_tokens,
            "real_tokens": self.real_tokens,
            "padded_tokens": self.padded_tokens,
            "seconds": self.seconds,
        }
