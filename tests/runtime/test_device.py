"""Device, precision and threads."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from transformer.errors import UserError
from transformer.runtime import device as device_module
from transformer.runtime.device import (
    autocast,
    choose_device,
    choose_precision,
    configure_process,
    configured_process,
    physical_cores,
)

CPU = torch.device("cpu")


@pytest.fixture
def restored() -> Iterator[None]:
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def offer(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_that_is_there(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    offer(monkeypatch, cuda, mps)
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    offer(monkeypatch, cuda=name != "cuda", mps=name != "mps")
    with pytest.raises(UserError, match=rf"^run\.device={name}: this machine .* has no {name}; use auto or cpu$"):
        choose_device(name)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_bf16"}, torch.bfloat16), ({"amx_bf16"}, torch.bfloat16), ({"avx2"}, torch.float32)],
)
def test_auto_precision_is_bf16_where_the_processor_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: torch.dtype
) -> None:
    monkeypatch.setattr(device_module, "cpu_flags", lambda: flags)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("auto", torch.device("mps")) == torch.float32
    assert choose_precision("bf16", CPU) == torch.bfloat16
    assert choose_precision("fp32", CPU) == torch.float32


def test_products_run_in_the_chosen_precision() -> None:
    matrix = torch.ones(2, 2)
    with autocast(CPU, torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
    with autocast(CPU, torch.float32):
        assert (matrix @ matrix).dtype == torch.float32
    assert isinstance(autocast(CPU, torch.float32), nullcontext)


def test_threads_default_to_the_physical_cores(restored: None) -> None:
    configure_process(3, CPU)
    assert torch.get_num_threads() == 3
    configure_process(None, CPU)
    assert torch.get_num_threads() == physical_cores() >= 1


def test_only_training_bounds_the_plans_and_only_where_nobody_else_did(
    restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"
    monkeypatch.delenv(ours, raising=False)
    monkeypatch.setenv(theirs, "7")
    configure_process(1, CPU)
    assert ours not in os.environ
    configure_process(1, CPU, training=True)
    assert (int(os.environ[ours]), os.environ[theirs]) == (64, "7")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2"}, "medium"), ({"amx_tile"}, "highest"), ({"avx2", "amx_bf16"}, "highest"), (set(), "highest")],
)
def test_fp32_products_stay_fp32_on_amx(
    restored: None, monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr(device_module, "cpu_flags", lambda: flags)
    torch.set_float32_matmul_precision("highest")
    configure_process(1, torch.device("cuda"), training=True)
    assert torch.get_float32_matmul_precision() == "highest"  # there it would mean TF32
    configure_process(1, CPU)
    assert torch.get_float32_matmul_precision() == "highest"  # decoding does not need it
    configure_process(1, CPU, training=True)
    assert torch.get_float32_matmul_precision() == expected


def test_contexts_that_overlap_restore_what_was_there_first(restored: None) -> None:
    torch.set_num_threads(3)
    first, second = configured_process(1, CPU, training=True), configured_process(2, CPU)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 2  # the second one's work goes on
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 3
    with configured_process(1, CPU):
        with configured_process(2, CPU):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_hyper_threads_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 7}, raising=False)
    monkeypatch.setattr(
        Path, "read_text", lambda path: {"cpu0": "0,2", "cpu2": "0,2"}.get(path.parts[-3], path.parts[-3])
    )
    assert physical_cores() == 4  # 0 and 2 are one core; 1, 3 and 7 are three


@pytest.mark.parametrize(("granted", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_a_containers_quota_bounds_the_threads(monkeypatch: pytest.MonkeyPatch, granted: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path: granted if path.name == "cpu.max" else path.parts[-3])
    assert physical_cores() == cores


@pytest.mark.parametrize("line", ["flags\t\t: fpu asimd bf16", "Features\t: fp asimd bf16"])
def test_features_are_read_on_x86_and_on_arm(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}\n")
    assert {"asimd", "bf16"} < device_module.cpu_flags()


def test_without_a_topology_every_processor_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr(Path, "read_text", unreadable)
    assert physical_cores() == 3
    assert device_module.cpu_flags() == set()
