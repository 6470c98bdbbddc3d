"""A run's records in TensorBoard (extra `report`), besides `metrics.jsonl`, the source of truth."""

import math
from collections.abc import Iterator
from pathlib import Path

from transformer.errors import UserError
from transformer.runtime.records import Record

# of a record; what places it is no figure
_NO_FIGURES = {"kind", "update", "epoch", "seconds", "target_tokens", "seconds_left", "best"}


class TensorBoard:
    """Writes each finite number of a record as `KIND/NAME` at its update, and faults as text. Raises `UserError` if
    tensorboard is not installed, or the directory is not writable.

    Args:
        directory: for event files; each start of a training adds one.
        update: the update that training resumes from; 0 for a new run.
    """

    def __init__(self, directory: Path, update: int = 0) -> None:
        self.directory = directory
        self._open(update)

    def record(self, record: Record) -> None:
        update = record["update"]
        assert isinstance(update, int)
        for name, value in figures(record):
            self._writer.add_scalar(name, value, update)
        if record["kind"] == "fault":
            self._writer.add_text("fault", str(record["what"]), update)
        try:
            self._writer.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def forget_after(self, update: int) -> None:
        self._writer.close()
        self._open(update)

    def close(self) -> None:
        self._writer.close()

    def _open(self, update: int) -> None:
        """Start a file; TensorBoard hides later updates of earlier files."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "run.tensorboard=true: tensorboard is not installed; pip install tensorboard, or leave it out"
            ) from None
        try:
            self._writer = SummaryWriter(str(self.directory), purge_step=update + 1)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        reason = error.strerror or error
        return UserError(f"{self.directory}: cannot be written ({reason}); free space or mend permissions")


def figures(record: Record) -> Iterator[tuple[str, float]]:
    """A record's finite numbers by name: `train/loss`, `validation/bleu`, or `averaged/bleu` for averaged weights."""
    kind = record.get("checkpoint", record["kind"])
    for name, value in record.items():
        if name in _NO_FIGURES or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value):
            yield f"{kind}/{name}", value
