"""Rewrite the measured tables of docs/measured/performance.md from the JSON files of scripts/lab/benchmark.py.

    python scripts/lab/performance_report.py runs/benchmarks docs/measured/performance.md

Replaces the text between the comments `measured: begin` and `measured: end`. Each JSON file is one row, named after the
file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line
from trials.measured_part import MeasuredPart

SPEEDS = {"train": ("target_tokens_per_second", "target tokens/s"), "decode": ("sentences_per_second", "sentences/s")}
Report = dict[str, Any]


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the JSON files")
    parser.add_argument("page", type=Path, help="the page to rewrite")
    arguments = parser.parse_args()
    part = MeasuredPart(arguments.page, new="# Performance\n\n")
    part.write(measured(read_reports(arguments.folder)))
    return 0


def read_reports(folder: Path) -> dict[str, Report]:
    """The reports by name.

    Raises:
        UserError: there are none, or a file is not a report.
    """
    reports = {}
    for path in sorted(folder.glob("*.json")):
        try:
            report = json.loads(path.read_text("utf-8"))
            wanted = ("work", "median", "repeats", "peak_memory_megabytes", "threads", "torch", "machine")
            reports[path.stem] = {key: report[key] for key in wanted} | {"against": report.get("against")}
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: not a report of scripts/lab/benchmark.py ({error!r})") from None
    if not reports:
        raise UserError(f"{folder}: holds no report of scripts/lab/benchmark.py; run make bench")
    return reports


def measured(reports: dict[str, Report]) -> str:
    """Machine, versions and tables."""
    machines = {
        f"{report['machine']}, {report['threads']} threads, torch {report['torch']}" for report in reports.values()
    }
    lines = [f"Written by `make bench` on {datetime.date.today()}: {'; '.join(sorted(machines))}.", ""]
    lines += ["Medians, and each repeat in brackets; a peer ran in turn with ours.", ""]
    for work, (key, unit) in SPEEDS.items():
        rows = [speed_row(name, report, key) for name, report in reports.items() if report["work"] == work]
        lines += table(
            [work, f"{unit}", "peer", "ratio", "MFU", "BLEU", "latency, ms", "peak memory (main process)"], rows
        )
    for work in ("data", "startup"):
        found = [report for report in reports.values() if report["work"] == work]
        rows = [[key.replace("_", " "), f"{value:g}"] for report in found for key, value in report["median"].items()]
        lines += table([work, "median"], rows)
    return "\n".join(lines)


def speed_row(name: str, report: Report, key: str) -> list[str]:
    median, against = report["median"], report.get("against")
    ratio, peer = "–", "–"
    if against:
        ratio = f"{against['ratio']:.2f}"
        peer = f"{sorted(against['speeds'])[len(against['speeds']) // 2]:,.0f} ({listed(against['speeds'])})"
    return [
        name.replace("_", " "),
        f"{median[key]:,.0f} ({listed([repeat[key] for repeat in report['repeats']])})",
        peer,
        ratio,
        f"{median['mfu']:.0%} of {median['ceiling_gigaflops']:,.0f} GFLOP/s" if "mfu" in median else "–",
        f"{median['bleu']:.2f}" if "bleu" in median else "–",
        f"{median['latency_milliseconds']:.1f}" if "latency_milliseconds" in median else "–",
        f"{report['peak_memory_megabytes'] / 1000:.2f} GB",
    ]


def listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in values)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table, followed by an empty line; nothing where there are no rows."""
    if not rows:
        return []
    cells = [header, ["---"] * len(header), *rows]
    return [*("| " + " | ".join(row) + " |" for row in cells), ""]


if __name__ == "__main__":
    sys.exit(main())
