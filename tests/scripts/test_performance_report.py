"""scripts/lab/performance_report.py: the measured part of a page is made anew, the rest stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "lab" / "performance_report.py"
TRAIN = {
    "work": "train",
    "median": {"target_tokens_per_second": 8000.4, "mfu": 0.5, "ceiling_gigaflops": 780},
    "repeats": [{"target_tokens_per_second": speed} for speed in (7900, 8000.4, 8100)],
    "peak_memory_megabytes": 1350,
    "threads": 2,
    "torch": "2.13.0",
    "machine": "2 × a processor, Linux",
    "against": {"command": "peer", "speeds": [2000, 1900, 2100], "ratio": 4.0},
}
DECODE = TRAIN | {
    "work": "decode",
    "median": {"sentences_per_second": 280.2, "bleu": 38.433, "latency_milliseconds": 28.04},
    "repeats": [{"sentences_per_second": 280.2}],
    "against": None,
}
PAGE = "# Performance\n\nbefore\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n"


def write(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), str(folder / "page.md")]
    return subprocess.run(command, capture_output=True, text=True)


def test_rows_of_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "train_small.json").write_text(json.dumps(TRAIN))
    (tmp_path / "decode_beam_5.json").write_text(json.dumps(DECODE))
    (tmp_path / "data.json").write_text(json.dumps(TRAIN | {"work": "data", "median": {"ratio": 1.41}}))
    (tmp_path / "page.md").write_text(PAGE)
    done = write(tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Performance\n\nbefore\n<!-- measured: begin -->\nWritten by `make bench`")
    assert page.endswith("<!-- measured: end -->\nafter\n")
    assert "old" not in page
    assert "2 × a processor, Linux, 2 threads, torch 2.13.0" in page
    small = "| train small | 8,000 (7,900, 8,000, 8,100) | 2,000 (2,000, 1,900, 2,100) | 4.00 | 50% of 780 GFLOP/s |"
    assert f"{small} – | – | 1.35 GB |" in page
    assert "| decode beam 5 | 280 (280) | – | – | – | 38.43 | 28.0 | 1.35 GB |" in page
    assert "| ratio | 1.41 |" in page
    write(tmp_path)
    assert (tmp_path / "page.md").read_text() == page  # again: the same


def test_a_new_page(tmp_path: Path) -> None:
    (tmp_path / "train_small.json").write_text(json.dumps(TRAIN))
    assert write(tmp_path).returncode == 0
    assert "train small" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("page", ["nothing", "<!-- measured: end -->\n<!-- measured: begin -->\n", PAGE + PAGE])
def test_a_page_without_its_place_is_refused_and_kept(tmp_path: Path, page: str) -> None:
    (tmp_path / "train_small.json").write_text(json.dumps(TRAIN))
    (tmp_path / "page.md").write_text(page)
    done = write(tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / 'page.md'}: needs one line <!-- measured: begin -->, and after it one line "
        "<!-- measured: end -->\n"
    )
    assert (tmp_path / "page.md").read_text() == page


@pytest.mark.parametrize(("content", "message"), [("{", "not a report"), ("[]", "not a report"), (None, "no report")])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    done = write(tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
