"""What a task tells its user while it works."""

from __future__ import annotations

import sys
from typing import TextIO

from tqdm import tqdm

from transformer.runtime.records import Record


class Console:
    """Progress for a person: a bar on a terminal, plain lines elsewhere."""

    def __init__(self, total: int, done: int = 0, unit: str = "update", stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        # training tells the time left itself: it knows of limits in minutes and epochs, which the bar does not
        left = "" if unit == "update" else " left {remaining}"
        bar_format = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s [{elapsed}" + left + "{postfix}]"
        self.bar = (
            tqdm(total=total, initial=done, unit=unit, file=self.stream, dynamic_ncols=True, bar_format=bar_format)
            if self.stream.isatty()
            else None
        )

    def advance(self, count: int = 1) -> None:
        if self.bar is not None:
            self.bar.update(count)

    def note(self, text: str) -> None:
        """Say a line of its own."""
        if self.bar is not None:
            self.bar.clear()
        print(text, file=self.stream, flush=True)

    def record(self, record: Record) -> None:
        if record.get("kind") == "train" and self.bar is not None:
            self.bar.set_postfix_str(training_line(record), refresh=False)
        elif record.get("kind") == "train":
            self.note(f"update {record['update']}  " + training_line(record))
        elif record.get("kind") == "fault":
            self.note(f"update {record['update']}  fault: {record['what']}")
        elif record.get("kind") == "validation":
            self.note(f"update {record['update']}  " + validation_line(record))

    def forget_after(self, update: int) -> None:
        if self.bar is not None:
            self.bar.n = update

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def training_line(record: Record) -> str:
    """A train record in words; its loss is the smoothed one that is minimised, not the one that validation tells."""
    return "  ".join(
        [
            f"smoothed loss {record['loss']:.3f}",
            f"ppl {record['perplexity']:.1f}",
            f"{record['target_tokens_per_second']:,.0f} tok/s",
            f"pad {record['padding_share']:.1%}",
            f"lr {record['learning_rate']:.2e}",
            f"left {clock(record['seconds_left'])}",
        ]
    )


def validation_line(record: Record) -> str:
    """A validation record in words."""
    names = {"loss": "loss {:.3f}", "perplexity": "ppl {:.2f}", "bleu": "BLEU {:.2f}", "chrf": "chrF2++ {:.2f}"}
    names |= {"guard_bleu": "guard BLEU {:.2f}"}
    shown = [form.format(record[name]) for name, form in names.items() if name in record]
    which = f" of the {record['checkpoint']} weights" if "checkpoint" in record else ""
    return f"validation{which}  " + "  ".join(shown) + ("  best so far" if record.get("best") else "")


def clock(seconds: object) -> str:
    """Seconds as 1:02:03 or 2:03."""
    whole = int(float(seconds))  # type: ignore[arg-type]
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
