"""Two hosts made of network namespaces with their own addresses: torchrun over both, one cut off in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from transformer.run.directory import RunDirectory

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {"transformer-a": "10.77.0.1", "transformer-b": "10.77.0.2"}
FIRST, SECOND = HOSTS
RENDEZVOUS = "join_timeout=120,last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=5"
UPDATES = 400
pytestmark = pytest.mark.slow


def ip(*words: str) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def hosts() -> Iterator[None]:
    """A cable between two namespaces; its ends are called eth0."""
    remove = [("netns", "delete", host) for host in HOSTS]
    for words in remove:  # of a test that was killed
        ip(*words)
    made = all(ip("netns", "add", host) for host in HOSTS)
    made = made and ip("link", "add", "eth0", "netns", FIRST, "type", "veth", "peer", "name", "eth0", "netns", SECOND)
    for host, address in HOSTS.items():
        made = made and ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
        made = made and all(ip("-n", host, "link", "set", device, "up") for device in ("lo", "eth0"))
    try:
        if not made:
            pytest.skip("this user may not make network namespaces, or there is no ip command")
        yield
    finally:
        for words in remove:
            ip(*words)


def torchrun(host: str, log: Path, nodes: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """One process on a host, which joins those on the other."""
    launch = [f"--nnodes={nodes}", "--nproc-per-node=1", "--max-restarts=5", "--rdzv-backend=c10d", "--rdzv-id=test"]
    launch += [
        f"--rdzv-endpoint={HOSTS[FIRST]}:29400",
        f"--local-addr={HOSTS[host]}",
        f"--rdzv-conf={RENDEZVOUS},is_host={int(host == FIRST)}",
    ]
    command = [sys.executable, "-m", "torch.distributed.run", *launch, "-m", "transformer", "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0"}
    with log.open("wb") as file:
        return subprocess.Popen(
            ["ip", "netns", "exec", host, *command, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def test_a_job_over_two_hosts_goes_on_when_one_is_cut_off(hosts: None, tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    logs = {host: tmp_path / f"{host}.log" for host in HOSTS}
    options = [f"run.directory={run}", f"training.max_updates={UPDATES}", "validation.every=10", "model.dropout=0"]
    options += ["validation.max_sentences=0", "training.average_checkpoints=0", "run.stall_minutes=0.2"]
    options += ["training.learning_rate=0.002"]  # rounding grows slower than at the rate of other tests
    jobs = {host: torchrun(host, logs[host], "1:2", tiny_run.parent / "config.yaml", *options) for host in HOSTS}
    try:
        while len(RunDirectory(run).updates()) < 2:
            assert jobs[FIRST].poll() is None, logs[FIRST].read_text()
            time.sleep(0.1)
        assert ip("-n", SECOND, "link", "set", "eth0", "down")
        assert jobs[FIRST].wait(timeout=240) == 0, logs[FIRST].read_text()
    finally:
        for job in jobs.values():
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
    said = logs[FIRST].read_text()
    assert "2 processes, each with the whole model" in said
    assert "Timeout (0:00:12)!" in said or "Connection" in said
    before, after = said.split("resuming from update")[0], said.split("resuming from update")[-1]
    assert "2 processes" in before and "2 processes" not in after
    assert RunDirectory(run).updates()[-1] == UPDATES
    alone = tmp_path / "alone"
    command = [sys.executable, "-m", "transformer", "train", str(tiny_run.parent / "config.yaml")]
    options[0] = f"run.directory={alone}"
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
    assert losses(run) == pytest.approx(losses(alone), rel=3e-2)


def losses(run: Path) -> list[float]:
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "validation"]
