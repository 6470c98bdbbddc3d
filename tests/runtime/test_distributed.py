"""runtime/distributed.py for a process alone; several are in tests/integration/test_distributed.py."""

import pytest
import torch

from transformer.errors import UserError
from transformer.runtime.distributed import Processes, join_processes

CPU = torch.device("cpu")


def test_a_process_alone_is_main_and_asks_nobody() -> None:
    alone = Processes()
    assert alone.is_main
    assert (alone.any(False), alone.any(True)) == (False, True)
    assert alone.of_main(2.5) == alone.total(2.5) == 2.5
    assert alone.sum(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert alone.gather_texts(["ä", ""]) == [["ä", ""]]
    alone.wait()
    alone.alive()


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_processes(CPU, 1.0) as processes:
        assert processes == Processes()
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("changes", [{"RANK": None}, {"LOCAL_RANK": "first"}])
def test_half_of_torchruns_variables_are_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None]
) -> None:
    facts = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"} | changes
    for name, value in facts.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with (
        pytest.raises(UserError, match=r"WORLD_SIZE is set, but not all of RANK.*; start with torchrun"),
        join_processes(CPU, 1.0),
    ):
        pass
