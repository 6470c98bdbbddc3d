"""Mutation testing: break the product in some twenty places, one at a time, and check that the default tests notice.

    python scripts/lab/mutate.py                 all mutations; exit code 1 if one survives
    python scripts/lab/mutate.py --only causal   mutations with this word in their description

A mutation is a wrong sign, an off-by-one, a dropped mask or a swapped argument, applied to a copy of the working tree.
The tests of its package run first; if they pass, the whole default suite runs. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from transformer.errors import UserError
from transformer.runtime.command import Parser, refusals_in_one_line

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("configs", "docs", "scripts", "tests", "transformer", ".github")
FILES = ("pyproject.toml", "constraints.txt", "README.md", "Makefile", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")


@dataclass(frozen=True)
class Mutation:
    """A change that makes the product wrong.

    Attributes:
        what: description of the error.
        path: file below `transformer/`.
        before, after: text that occurs exactly once, and its replacement.
    """

    what: str
    path: str
    before: str
    after: str

    @property
    def tests(self) -> str:
        """The folder of tests that should notice."""
        return f"tests/{self.path.split('/')[0]}"


MUTATIONS = (
    Mutation("the causal mask lets a position see the next one", "model/masks.py", ".tril()[", ".tril(1)["),
    Mutation("padding is attended to", "model/masks.py", "(ids != pad_id)[:, None", "(ids == ids)[:, None"),
    Mutation(
        "scores are not scaled by √K",
        "model/attention_kernels.py",
        "scale = 1 / math.sqrt(query.shape[-1])",
        "scale = 1.0",
    ),
    Mutation(
        "rotary positions turn one half the wrong way",
        "model/positions/rotary.py",
        "second * cosines + first * sines",
        "second * cosines - first * sines",
    ),
    Mutation(
        "post-norm drops the residual",
        "model/residual.py",
        "self.norm(x + self.dropout(sublayer(x)))",
        "self.norm(self.dropout(sublayer(x)))",
    ),
    Mutation(
        "beams keep the mask of the row they had before",
        "model/cache.py",
        "mask = self._mask.flatten(0, 1).index_select(0, rows)  # (N', C)",
        "mask = self._mask.flatten(0, 1)[: len(rows)]  # (N', C)",
    ),
    Mutation(
        "cached decoding embeds each token one position too late",
        "model/transformer.py",
        "self.target_embedding(newest_ids, cache.length)",
        "self.target_embedding(newest_ids, cache.length + 1)",
    ),
    Mutation(
        "the loss's label smoothing has the wrong sign",
        "training/machine/chunked_loss.py",
        "* -of_labels - label_smoothing / vocabulary * of_all",
        "* -of_labels + label_smoothing / vocabulary * of_all",
    ),
    Mutation(
        "the gradient of the output matrix lacks label smoothing",
        "training/machine/chunked_loss.py",
        "        weight_gradient -= share * hidden.sum(0, dtype=torch.float32)\n",
        "",
    ),
    Mutation(
        "gradients are not divided by the update's tokens but by the micro-batch's",
        "training/updater.py",
        "loss = sums.loss / (tokens / self.processes.size)",
        "loss = sums.loss / (micro_batch[0].num_target_tokens / self.processes.size)",
    ),
    Mutation(
        "warm-up begins one update late",
        "training/schedule.py",
        "return peak * update / warmup",
        "return peak * (update - 1) / warmup",
    ),
    Mutation(
        "every epoch has the order of the first",
        "data/batching.py",
        "np.random.default_rng([seed, epoch])",
        "np.random.default_rng([seed, 0 * epoch])",
    ),
    Mutation(
        "a micro-batch may hold one sentence too many",
        "data/batching.py",
        "width * (index + 1 - start) > limit",
        "width * (index - start) > limit",
    ),
    Mutation(
        "the decoder's input lacks the begin mark",
        "data/batch.py",
        "decoder_input_ids=pad_rows(targets, first=BOS)",
        "decoder_input_ids=pad_rows(targets, last=EOS)",
    ),
    Mutation(
        "the length penalty does not count the end mark",
        "decoding/beam_search.py",
        "penalty = self.options.penalty(self.length + 1)",
        "penalty = self.options.penalty(max(1, self.length))",
    ),
    Mutation(
        "the search stops a sentence by the penalty of today",
        "decoding/beam_search.py",
        "            return best / largest\n",
        "            return best / self.options.penalty(self.length)\n",
    ),
    Mutation(
        "hypotheses are read back along the wrong beams",
        "decoding/beam_search.py",
        "                beam = parents[beam][step]\n",
        "",
    ),
    Mutation(
        "a checkpoint that was changed is not noticed",
        "run/store.py",
        'if payload.get("sha256") != content_hash(payload):',
        'if payload.get("sha256") is None:',
    ),
    Mutation(
        "a resumed run repeats its last update's sentences",
        "tasks/assembly.py",
        "place = Position(state.epoch, state.batch)",
        "place = Position(state.epoch, max(0, state.batch - 1))",
    ),
    Mutation(
        "a resumed run begins with fresh moments",
        "run/state.py",
        "if has_moments(checkpoint) or state.skipped < state.update:",
        "if not has_moments(checkpoint):",
    ),
    Mutation(
        "the best checkpoint is pruned",
        "training/checkpoints.py",
        "state.update, state.best_update or state.update, *best}",
        "state.update, *best}",
    ),
)


@refusals_in_one_line
def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="WORD", default="", help="only mutations with this in their description")
    chosen = [mutation for mutation in MUTATIONS if parser.parse_args(arguments).only in mutation.what]
    if not chosen:
        raise UserError("--only: no mutation has this in its description")
    print("| mutation | file | noticed by |\n|---|---|---|", flush=True)
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder) / "tree")
        for mutation in chosen:
            noticed = first_failure(copy, mutation)
            survived += noticed is None
            print(f"| {mutation.what} | `{mutation.path}` | {noticed or '**nothing**'} |", flush=True)
    return 1 if survived else 0


def copied(target: Path) -> Path:
    """A copy of the working tree."""
    target.mkdir()
    for folder in COPIED:
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def first_failure(copy: Path, mutation: Mutation) -> str | None:
    """The first test that fails under a mutation, None if all pass.

    Raises:
        UserError: the text to replace does not occur exactly once.
    """
    path = copy / "transformer" / mutation.path
    original = path.read_text("utf-8")
    if original.count(mutation.before) != 1:
        raise UserError(f"{mutation.path}: {mutation.before!r} occurs {original.count(mutation.before)} times; fix it")
    path.write_text(original.replace(mutation.before, mutation.after), "utf-8")
    try:
        return next(filter(None, (failure_in(copy, tests) for tests in (mutation.tests, "tests"))), None)
    finally:
        path.write_text(original, "utf-8")


def failure_in(copy: Path, tests: str) -> str | None:
    """The name of the first failing test, None if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests]
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True
    )
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "`" + lines[0].split()[1] + "`" if lines else f"exit code {done.returncode} of {tests}"


if __name__ == "__main__":
    sys.exit(main())
