"""The layout of a run directory, and its two pointers `best` and `last` to checkpoints."""

import re
from collections.abc import Callable, Collection
from pathlib import Path

from transformer.config import CONFIG_FILE
from transformer.errors import UserError
from transformer.reading import read_whole
from transformer.run.store import CheckpointError, verify_checkpoint
from transformer.runtime.files import remove_directory, remove_leftovers, write_file

AVERAGED = "averaged"
_CHECKPOINT_NAME = re.compile(r"^([0-9]{8,10}|averaged)\Z")
_MAX_POINTER_BYTES = 1000


def split_checkpoint(path: Path) -> tuple[Path, str | None]:
    """Split a path into run directory and checkpoint name; the name is None if the path is the run directory."""
    resolved = path.resolve()
    if resolved.parent.name == "checkpoints" and (path / "state.json").is_file():
        return resolved.parent.parent, resolved.name
    return path, None


def run_of(path: str | Path) -> Path:
    """The run directory of a path to a run or to one of its checkpoints. Raises `UserError` if there is no such
    directory."""
    run, _ = split_checkpoint(Path(path))
    if not run.is_dir():
        raise UserError(f"{run}: no such run directory; check the path")
    return run


class RunDirectory:
    """Paths of a run. A pointer is a one-line text file with the name of a checkpoint. Raises `UserError` if one of
    its folders is a symbolic link, which would lead writes out of the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG_FILE
        self.tokenizer = path / "tokenizer"
        self.metrics = path / "metrics.jsonl"
        self.manifest = path / "manifest.json"
        self.verification = path / "verification.json"
        self.checkpoints = path / "checkpoints"
        self.evaluations = path / "evaluations"
        self.tensorboard = path / "tensorboard"
        self.card = path / "card.md"
        self.card_json = path / "card.json"
        for folder in (self.tokenizer, self.checkpoints, self.evaluations, self.tensorboard):
            if folder.is_symlink():
                raise UserError(f"{folder}: a symbolic link; a run holds its own files, so copy what it names")

    def checkpoint(self, name: int | str) -> Path:
        """The directory of an update's checkpoint, or of the averaged one."""
        return self.checkpoints / (f"{name:08d}" if isinstance(name, int) else name)

    def updates(self) -> list[int]:
        """The updates that have a checkpoint, ascending."""
        if not self.checkpoints.is_dir():
            return []
        names = (entry.name for entry in self.checkpoints.iterdir())
        return sorted(int(name) for name in names if _CHECKPOINT_NAME.match(name) and name != AVERAGED)

    def regular_updates(self, every: int) -> list[int]:
        """The `updates` that are multiples of `every`. Checkpoints saved on a signal are not, so an interrupted run
        averages the same checkpoints as an uninterrupted one."""
        return [update for update in self.updates() if update % every == 0]

    def point(self, pointer: str, name: int | str) -> None:
        """Point `best` or `last` to a checkpoint."""
        write_file(self.path / pointer, (self.checkpoint(name).name + "\n").encode())

    def pointed(self, pointer: str) -> str | None:
        """The checkpoint name in `best` or `last`, or None if there is no such pointer. Raises `CheckpointError` if
        the file holds anything else, such as a path."""
        path = self.path / pointer
        try:
            name = read_whole(path, _MAX_POINTER_BYTES).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
        if not _CHECKPOINT_NAME.match(name):
            raise CheckpointError(f"{path}: damaged (it names no checkpoint); this run has {self._held()}")
        return name

    def resolve(self, which: str) -> Path:
        """The checkpoint directory for `best`, `last`, `averaged` or an update's number. Raises `CheckpointError` if
        there is none; the message lists those that exist."""
        name = which
        if which in ("best", "last"):
            pointed = self.pointed(which)
            if pointed is None and self.updates():
                raise CheckpointError(f"{self.path}: holds no {which}; choose of {self._held()}: decoding.checkpoint=…")
            if pointed is None:
                raise CheckpointError(f"{self.path}: no checkpoint yet (it holds no {which}); train it first")
            name = pointed
        elif which.isdecimal():
            name = f"{int(which):08d}"
        path = self.checkpoints / name
        if not _CHECKPOINT_NAME.match(name) or not path.is_dir():
            raise CheckpointError(f"{path}: no such checkpoint; this run has {self._held()}")
        return path

    def _held(self) -> str:
        averaged = [AVERAGED] if self.checkpoint(AVERAGED).is_dir() else []
        return ", ".join([*map(str, self.updates()), *averaged]) or "none"

    def prune(self, keep: Collection[int]) -> None:
        """Delete all updates' checkpoints except `keep`, and temporary files of killed processes."""
        remove_leftovers(self.path)
        remove_leftovers(self.checkpoints)
        for update in self.updates():
            if update not in keep:
                remove_directory(self.checkpoint(update))

    def newest_good(
        self, but: Path | None = None, damaged: Callable[[CheckpointError], None] = lambda error: None
    ) -> Path | None:
        """The newest undamaged checkpoint other than `but`; `damaged` is called with the error of each newer one."""
        for update in reversed(self.updates()):
            if but is not None and self.checkpoint(update).name == but.name:
                continue
            try:
                verify_checkpoint(self.checkpoint(update))
            except CheckpointError as error:
                damaged(error)
                continue
            return self.checkpoint(update)
        return None
