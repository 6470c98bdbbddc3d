"""Sums over the updates since the last log line, kept on the device so that no update waits for the host."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from transformer.data.batch import Batch
from transformer.runtime.distributed import Processes
from transformer.training.loss import LossSums


class IntervalMetrics:
    """Loss, tokens, padding and speed over an interval.

    Args:
        device: where the losses are summed.
        saved: sums of an interrupted interval, from `to_json`.
    """

    def __init__(self, device: torch.device, saved: dict[str, float] | None = None) -> None:
        saved = saved or {}
        self._device = device
        self._loss = self._scalar(saved.get("loss", 0.0))
        self._negative_log_likelihood = self._scalar(saved.get("negative_log_likelihood", 0.0))
        self.target_tokens = int(saved.get("target_tokens", 0))
        self.real_tokens = int(saved.get("real_tokens", 0))
        self.padded_tokens = int(saved.get("padded_tokens", 0))
        self.seconds = saved.get("seconds", 0.0)
        self.gradient_signal = saved.get("gradient_signal", 0.0)
        self.gradient_noise = saved.get("gradient_noise", 0.0)

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

    def add_noise(self, signal: float, noise: float) -> None:
        """Count the terms of the gradient noise scale, which are the same in all processes."""
        self.gradient_signal += signal
        self.gradient_noise += noise

    def add_seconds(self, since: float) -> None:
        """Count the time from `since` (of `time.perf_counter`) to now as training."""
        self.seconds += time.perf_counter() - since

    def collect(self, processes: Processes) -> None:
        """Give all processes' sums to the main one, and none to the others; seconds are each process' own."""
        if processes.size == 1:
            return
        counts = self.target_tokens, self.real_tokens, self.padded_tokens
        sums = processes.sum(
            torch.tensor([float(self._loss), float(self._negative_log_likelihood), *counts], dtype=torch.float64)
        ) * float(processes.is_main)
        self._loss, self._negative_log_likelihood = map(self._scalar, sums[:2].tolist())
        self.target_tokens, self.real_tokens, self.padded_tokens = map(int, sums[2:].tolist())

    def summary(self) -> dict[str, float]:
        """Means of the interval; reads from the device."""
        tokens = max(1, self.target_tokens)
        nll = float(self._negative_log_likelihood) / tokens
        noise = {}
        if self.gradient_signal > 0:  # too few measurements may say that there is no signal
            noise = {"gradient_noise_scale": max(0.0, self.gradient_noise) / self.gradient_signal}
        return {
            **noise,
            "loss": float(self._loss) / tokens,
            "perplexity": perplexity(nll),
            "target_tokens_per_second": self.target_tokens / self.seconds if self.seconds else 0.0,
            "padding_share": 1 - self.real_tokens / max(1, self.padded_tokens),
        }

    def to_json(self) -> dict[str, float]:
        return {
            "loss": float(self._loss),
            "negative_log_likelihood": float(self._negative_log_likelihood),
            "target_tokens": self.target_tokens,
            "real_tokens": self.real_tokens,
            "padded_tokens": self.padded_tokens,
            "seconds": self.seconds,
            "gradient_signal": self.gradient_signal,
            "gradient_noise": self.gradient_noise,
        }


def perplexity(negative_log_likelihood: float) -> float:
    """exp of the mean negative log-likelihood per token, infinite where that overflows."""
    return math.exp(negative_log_likelihood) if negative_log_likelihood < 700 else math.inf
