"""Train a recipe with one thing changed at a time, for equal time and with several seeds, and write the table.

    python scripts/ablation.py CONFIG FOLDER PAGE [--minutes 10] [--only NAME …] [section.key=value …]

First the speed of each choice is measured (run nothing else meanwhile); then each trains for as many updates as fit
into the minutes by that speed, so that trainings may run beside each other (`--phase train`, each with run.threads=1)
and still have equal budgets. At last the test corpus is translated, and each choice is compared with the recipe over
all seeds together: sacreBLEU's paired bootstrap and approximate randomisation. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from trials.recipe import Figures, Recipe, reported

from transformer.cli.wiring import say
from transformer.config import load_config
from transformer.data.corpus import read_lines, read_pairs
from transformer.errors import UserError
from transformer.evaluation.significance import Comparison, compare_systems
from transformer.runtime.atomic import write_file

SEEDS = (1, 2)
RECIPE = "the recipe"
CHOICES: dict[str, list[str]] = {
    RECIPE: [],
    "R-Drop, α 5": ["training.r_drop=5"],
    "R-Drop, α 2": ["training.r_drop=2"],
    "subword sampling 0.5": ["training.subword_sampling=0.5"],
    "subword sampling 0.2": ["training.subword_sampling=0.2"],
    "EMA 0.999 in place of the mean of 4": ["training.weight_average=ema", "training.average_checkpoints=0"],
    "no average": ["training.average_checkpoints=0"],
    "Muon": ["training.optimizer=muon"],
    "dropout 0.1": ["model.dropout=0.1"],
    "dropout 0.2": ["model.dropout=0.2"],
    "dropout 0.4": ["model.dropout=0.4"],
    "4,000 pieces": ["tokenizer.vocab_size=4000"],
    "10,000 pieces": ["tokenizer.vocab_size=10000"],
    "1,280 target tokens an update": ["training.batch_tokens=1280"],
    "5,120 target tokens an update": ["training.batch_tokens=5120"],
    "post-norm": ["model.norm=post"],
    "half as wide": ["model.d_model=128", "model.d_ff=512", "training.learning_rate=3.0e-3"],
    "R-Drop, α 5, and subword sampling 0.5": ["training.r_drop=5", "training.subword_sampling=0.5"],
}
TRIALS = {
    f"{choice}, seed {seed}": [*changes, f"run.seed={seed}"] for choice, changes in CHOICES.items() for seed in SEEDS
}
_MEASURED_UPDATES = 10
_VALIDATIONS = 8  # of a training, whatever its number of updates
_WARMUP_SHARE = 0.15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for all trials")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="+", choices=CHOICES, metavar="NAME", default=list(CHOICES))
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=list(SEEDS))
    parser.add_argument("--phase", choices=("speed", "train", "all"), default="all")
    arguments = parser.parse_intermixed_args()
    recipe = Recipe(arguments.config, arguments.folder, arguments.overrides, CHOICES | TRIALS)
    try:
        for choice in arguments.only:
            load_config(arguments.config, [*arguments.overrides, *CHOICES[choice]])
        speeds = {choice: recipe.once(choice, "speed", partial(speed, recipe)) for choice in arguments.only}
        if arguments.phase == "speed":
            return 0
        for seed in arguments.seeds:
            for choice in arguments.only:
                train = partial(train_for, recipe, updates_in(arguments.minutes, speeds[choice]))
                recipe.once(f"{choice}, seed {seed}", f"{arguments.minutes:g}_minutes", train)
        if arguments.phase == "all":
            write_file(arguments.page, page(recipe, arguments.only, arguments.minutes, speeds).encode())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def speed(recipe: Recipe, choice: str) -> Figures:
    """Target tokens a second, and how many an update has."""
    options = load_config(recipe.config, [*recipe.overrides, *CHOICES[choice]]).training
    found = recipe.training_speed(choice, _MEASURED_UPDATES)["target_tokens_per_second"]
    return {"target_tokens_per_second": found, "batch_tokens": options.batch_tokens}


def updates_in(minutes: float, speed: Mapping[str, float]) -> int:
    """How many updates fit into a time, as a multiple of the validations."""
    updates = 60 * minutes * speed["target_tokens_per_second"] / speed["batch_tokens"]
    return max(_VALIDATIONS, round(updates / _VALIDATIONS) * _VALIDATIONS)


def train_for(recipe: Recipe, updates: int, trial: str) -> Figures:
    """Train a trial for so many updates, and translate the test corpus."""
    budget = [f"training.max_updates={updates}", f"validation.every={updates // _VALIDATIONS}"]
    run = recipe.train(trial, *budget, f"training.warmup_updates={max(1, round(_WARMUP_SHARE * updates))}")
    report = reported("-m", "transformer", "evaluate", str(run), "--output", str(translations(run)))
    return {score["name"]: score["value"] for score in report["scores"]} | {"updates": updates}


def translations(run: Path) -> Path:
    """The file of a run's test translations."""
    return run.with_suffix(".test.txt")


def page(recipe: Recipe, choices: list[str], minutes: float, speeds: Mapping[str, Figures]) -> str:
    """The Markdown table: each choice against the recipe, over the test sets of all seeds put end to end."""
    data = load_config(recipe.config, recipe.overrides).data
    references = [target for _, target in read_pairs(data.test)] * len(SEEDS)
    systems = []
    for choice in choices:
        files = [translations(recipe.run(f"{choice}, seed {seed}")) for seed in SEEDS]
        systems.append((choice, [line for file in files for line in read_lines(file)]))
    say(f"comparing {len(systems)} systems")
    bleu: Comparison = compare_systems(systems, references, data.target_language)[0]
    lines = [
        "# Ablation",
        "",
        f"Written by `scripts/ablation.py {recipe.config}`: {minutes:g} minutes of training each by their own speed, "
        f"{len(SEEDS)} seeds, whose test translations are compared together.",
        "",
        f"Signatures: {bleu.bootstrap_signature}; {bleu.randomisation_signature}",
        "",
        "| choice | target tokens/s | updates | BLEU of each seed | difference, 95 % interval | p, randomisation |",
        "|---|---|---|---|---|---|",
    ]
    for system in bleu.systems:
        each = [recipe.once(f"{system.system}, seed {seed}", f"{minutes:g}_minutes", _unmeasured) for seed in SEEDS]
        told = "|".join((" ", " "))
        if system.difference is not None:
            d = system.difference
            told = f" {d.delta:+.2f} ({d.low:+.2f} to {d.high:+.2f}) | {d.p_randomisation:.4f} "
        scores = ", ".join(f"{figures['BLEU']:.2f}" for figures in each)
        speed = speeds[system.system]["target_tokens_per_second"]
        lines.append(f"| {system.system} | {speed:,.0f} | {each[0]['updates']:,.0f} | {scores} |{told}|")
    return "\n".join(lines) + "\n"


def _unmeasured(name: str) -> Figures:
    raise UserError(f"{name}: was not trained; leave out --only, or train it first")


if __name__ == "__main__":
    sys.exit(main())
