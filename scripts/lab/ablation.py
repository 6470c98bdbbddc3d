"""Train a recipe with one change at a time, for equal time and with several seeds, and write a table of the results.

    python scripts/lab/ablation.py CONFIG FOLDER PAGE [--minutes 10] [--only NAME …] [section.key=value …]

First the script measures the speed of each choice (run nothing else meanwhile). Each choice then trains for as many
updates as fit into the minutes at that speed, so trainings can run in parallel (`--phase train`, each with
run.threads=1) with equal budgets. Choices that change only decoding use the recipe's own training. Finally the script
translates the test corpus and compares each choice with the recipe of the same seed by sacreBLEU's paired bootstrap and
approximate randomisation. Finished work is not repeated. The table replaces the text between the comments
`measured: begin` and `measured: end` in PAGE.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from transformer.config import load_config
from transformer.data.batching import SAMPLED_WINDOW
from transformer.data.corpus import read_lines, read_pairs
from transformer.errors import UserError
from transformer.evaluation.significance import Comparison, compare_systems
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.reporting import TerminalReporter
from trials.measured_part import MeasuredPart
from trials.recipe import Figures, Recipe, recipe_parser, reported

SEEDS = (1, 2)
RECIPE = "the recipe"
CHOICES: dict[str, list[str]] = {
    RECIPE: [],
    "R-Drop, α 5": ["training.r_drop=5"],
    "subword sampling 0.5": ["training.subword_sampling=0.5"],
    "EMA 0.999 in place of the mean of 4": ["training.weight_average=ema", "training.average_checkpoints=0"],
    "always the mean of 4": ["decoding.checkpoint=averaged"],  # not only where validation prefers it
    "Muon": ["training.optimizer=muon"],
    "dropout 0.1": ["model.dropout=0.1"],
    "dropout 0.2": ["model.dropout=0.2"],
    "4,000 pieces": ["tokenizer.vocab_size=4000"],
    "10,000 pieces": ["tokenizer.vocab_size=10000"],
    "1,280 target tokens an update": ["training.batch_tokens=1280"],
    "5,120 target tokens an update": ["training.batch_tokens=5120"],
    "post-norm": ["model.norm=post"],
    "half as wide": ["model.d_model=128", "model.d_ff=512", "training.learning_rate=3.0e-3"],
    "rotary positions": ["model.positions=rotary"],
    "rotary positions, query and key norm": ["model.positions=rotary", "model.query_key_norm=true"],
    "those and R-Drop, α 5": ["model.positions=rotary", "model.query_key_norm=true", "training.r_drop=5"],
}
TRIALS = {
    f"{choice}, seed {seed}": [*changes, f"run.seed={seed}"] for choice, changes in CHOICES.items() for seed in SEEDS
}
_MEASURED_UPDATES = 10
_VALIDATIONS = 8  # of a training, whatever its number of updates
_WARMUP_SHARE = 0.15


@refusals_in_one_line
def main() -> int:
    parser = recipe_parser(__doc__, CHOICES)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=list(SEEDS))
    parser.add_argument("--phase", choices=("speed", "train", "all"), default="all")
    arguments = parser.parse_intermixed_args()
    choices = [RECIPE, *(choice for choice in arguments.only if choice != RECIPE)]
    if len(choices) < 2:
        parser.error("--only: name a choice besides the recipe, which all are compared with")
    recipe = Recipe(arguments.config, arguments.folder, arguments.overrides, CHOICES | TRIALS)
    part = MeasuredPart(arguments.page, new="# Ablation\n\n")  # refused before hours of training
    for choice in choices:
        load_config(arguments.config, [*arguments.overrides, *CHOICES[choice]])
    speeds = {choice: speed(recipe, choice) for choice in choices}
    if arguments.phase == "speed":
        return 0
    for seed in arguments.seeds:
        for choice in choices:
            train = partial(train_for, recipe, updates_in(arguments.minutes, speeds[choice]), choice, seed)
            recipe.once(f"{choice}, seed {seed}", f"{arguments.minutes:g}_minutes", train)
    if arguments.phase == "all":
        part.write(table(recipe, choices, arguments.seeds, arguments.minutes))
    return 0


def trained_as(choice: str) -> str:
    """The choice whose training this one uses: the recipe's if only decoding changes, else its own."""
    return RECIPE if all(change.startswith("decoding.") for change in CHOICES[choice]) else choice


def speed(recipe: Recipe, choice: str) -> Figures:
    """Target tokens and updates per second, measured now or earlier."""
    return recipe.once(trained_as(choice), "speed", partial(measured_speed, recipe))


def measured_speed(recipe: Recipe, choice: str) -> Figures:
    """Target tokens and updates per second."""
    sampled = load_config(recipe.config, [*recipe.overrides, *recipe.changes[choice]]).training.subword_sampling
    # segmentations are drawn once per window
    found = recipe.training_speed(choice, _MEASURED_UPDATES if sampled is None else SAMPLED_WINDOW)
    return {name: found[name] for name in ("target_tokens_per_second", "updates_per_second")}


def updates_in(minutes: float, speed: Mapping[str, float]) -> int:
    """The number of updates that fit into a time, as a multiple of the number of validations."""
    updates = 60 * minutes * speed["updates_per_second"]
    return max(_VALIDATIONS, round(updates / _VALIDATIONS) * _VALIDATIONS)


def train_for(recipe: Recipe, updates: int, choice: str, seed: int, trial: str) -> Figures:
    """Train a trial for this many updates, and translate the test corpus."""
    budget = [f"training.max_updates={updates}", f"validation.every={updates // _VALIDATIONS}"]
    warmup = f"training.warmup_updates={max(1, round(_WARMUP_SHARE * updates))}"
    run = recipe.train(f"{trained_as(choice)}, seed {seed}", *budget, warmup)
    decoding = [change for change in CHOICES[choice] if change.startswith("decoding.")]
    output = str(translations(recipe.run(trial)))
    report = reported("-m", "transformer", "evaluate", str(run), *decoding, "--output", output)
    return {score["name"]: score["value"] for score in report["scores"]} | {"updates": updates}


def translations(run: Path) -> Path:
    """The file of a run's test translations."""
    return run.with_suffix(".test.txt")


def table(recipe: Recipe, choices: Sequence[str], seeds: Sequence[int], minutes: float) -> str:
    """The Markdown table: each choice against the recipe, seed by seed."""
    data = load_config(recipe.config, recipe.overrides).data
    references = [target for _, target in read_pairs(data.test)]
    compared: list[Comparison] = []
    for seed in seeds:
        files = {choice: translations(recipe.run(f"{choice}, seed {seed}")) for choice in choices}
        systems = [(choice, list(read_lines(file))) for choice, file in files.items()]
        TerminalReporter().info(f"seed {seed}: comparing {len(systems)} systems")
        compared.append(compare_systems(systems, references, data.target_language)[0])
    lines = [
        f"Written by `scripts/lab/ablation.py {recipe.config}`: {minutes:g} minutes of training each, at each choice's "
        "own speed. Differences are from the recipe with the same seed, with the 95 % interval of the paired "
        "bootstrap; p is by approximate randomisation, the largest of the seeds. Neither accounts for the variance "
        "between seeds.",
        "",
        f"Signatures: {compared[0].bootstrap_signature}; {compared[0].randomisation_signature}",
        "",
        "| choice | target tokens/s | updates | BLEU of each seed | mean | difference of each seed | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, choice in enumerate(choices):
        rate = recipe.once(trained_as(choice), "speed", _unmeasured)["target_tokens_per_second"]
        updates = recipe.once(f"{choice}, seed {seeds[0]}", f"{minutes:g}_minutes", _unmeasured)["updates"]
        scores = [comparison.systems[place].value for comparison in compared]
        found = [each for comparison in compared if (each := comparison.systems[place].difference) is not None]
        differences = ", ".join(f"{each.delta:+.2f} ({each.low:+.2f} to {each.high:+.2f})" for each in found)
        p = f"{max(each.p_randomisation for each in found):.4f}" if found else ""
        each_score = ", ".join(f"{score:.2f}" for score in scores)
        lines.append(
            f"| {choice} | {rate:,.0f} | {updates:,.0f} | {each_score} | {statistics.mean(scores):.2f} | "
            f"{differences} | {p} |"
        )
    return "\n".join(lines) + "\n"


def _unmeasured(name: str) -> Figures:
    raise UserError(f"{name}: not trained yet; leave out --only, or train it first")


if __name__ == "__main__":
    sys.exit(main())
