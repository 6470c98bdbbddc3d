"""Train every model variant for the same number of updates, and write the table of docs/measured/variants.md.

    python scripts/lab/variants.py CONFIG FOLDER PAGE [--only NAME …] [section.key=value …]

CONFIG is the recipe of the default model, e.g. configs/multi30k_four_minutes.yaml; its number of updates applies to all
variants. Each variant is a run in FOLDER. Finished runs are not trained again, so an interrupted script continues where
it stopped. The default is trained with three seeds, whose spread is the noise. With --train, which takes no speeds,
several scripts can run in parallel (give each run.threads=1). Speeds are measured last, each in turn with the
default's; run nothing else meanwhile. The table replaces the text between the comments `measured: begin` and
`measured: end` in PAGE.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from pathlib import Path

from transformer.config import load_config
from transformer.run.run import Run
from transformer.runtime.command import refusals_in_one_line
from trials.measured_part import MeasuredPart
from trials.recipe import BENCHMARK, Figures, Recipe, recipe_parser, reported

SEEDS = (1, 2, 3)
DEFAULT = f"default, seed {SEEDS[0]}"
VARIANTS: dict[str, list[str]] = {
    **{f"default, seed {seed}": [f"run.seed={seed}"] for seed in SEEDS},
    **{
        f"positions: {positions}": [f"model.positions={positions}"]
        for positions in ("learned", "shaw_keys", "shaw_keys_values", "t5_bias", "alibi", "rotary", "none")
    },
    "norm: post": ["model.norm=post"],
    "norm: sandwich": ["model.norm=sandwich"],
    "norm: deep": ["model.norm=deep"],
    "RMS norm": ["model.norm_kind=rms"],
    "query and key norm": ["model.query_key_norm=true"],
    "GELU": ["model.feed_forward=gelu"],
    "SiLU": ["model.feed_forward=silu"],
    "GEGLU, two thirds as wide": ["model.feed_forward=geglu", "model.d_ff=688"],
    "SwiGLU, two thirds as wide": ["model.feed_forward=swiglu", "model.d_ff=688"],
    "2 heads of keys for 4": ["model.num_key_value_heads=2"],
    "1 head of keys for 4": ["model.num_key_value_heads=1"],
    "average attention": ["model.decoder_self_attention=average"],
    "SSRU": ["model.decoder_self_attention=ssru"],
    "5 + 1 layers": ["model.num_encoder_layers=5", "model.num_decoder_layers=1"],
    "LayerDrop 0.1": ["model.layer_drop=0.1"],
    "modern (rotary, RMS norm, SwiGLU, 2 heads of keys)": [
        "model.positions=rotary",
        "model.norm_kind=rms",
        "model.feed_forward=swiglu",
        "model.d_ff=688",
        "model.num_key_value_heads=2",
    ],
}


@refusals_in_one_line
def main() -> int:
    parser = recipe_parser(__doc__, VARIANTS)
    parser.add_argument("--train", action="store_true", help="train and score; measure no speed and write no page")
    arguments = parser.parse_intermixed_args()
    recipe = Recipe(arguments.config, arguments.folder, arguments.overrides, VARIANTS)
    part = MeasuredPart(arguments.page, new="# Model variants\n\n")  # refused before hours of training
    load_config(arguments.config, arguments.overrides)
    scores = {name: recipe.once(name, "score", partial(score, recipe)) for name in arguments.only}
    if not arguments.train:
        speeds = {name: recipe.once(name, "speed", partial(speed, recipe)) for name in arguments.only}
        found = {name: scores[name] | speeds[name] for name in arguments.only}
        part.write(table(found, arguments.config))
    return 0


def score(recipe: Recipe, name: str) -> Figures:
    """Train a variant and translate the validation sentences."""
    run = recipe.train(name)
    report = reported("-m", "transformer", "evaluate", str(run), "--split", "validation")
    bleu = next(score["value"] for score in report["scores"] if score["name"] == "BLEU")
    return {"parameters": parameters(run), "bleu": bleu}


def speed(recipe: Recipe, name: str) -> Figures:
    """A variant's speeds, as ratios to the default's, measured immediately before."""

    def speeds(of: str) -> tuple[float, float]:
        training = recipe.training_speed(of, updates=6)
        decoding = reported(BENCHMARK, "decode", str(recipe.run(of)), "--sentences", "300", "--repeats", "3")
        return training["target_tokens_per_second"], decoding["median"]["sentences_per_second"]

    (training, decoding), (own_training, own_decoding) = speeds(DEFAULT), speeds(name)
    return {"training": own_training / training, "decoding": own_decoding / decoding}


def parameters(run: Path) -> int:
    return sum(parameter.numel() for parameter in Run(run).load_model().parameters())


def table(found: dict[str, Figures], config: str) -> str:
    """The Markdown table of the variants, with the noise of the measurements."""
    lines = [
        f"Every variant of `{config}` is trained for the same number of updates, with one seed each except for the "
        "default. BLEU is that of the validation corpus at the end.",
        "",
    ]
    defaults = [figures for name, figures in found.items() if name.startswith("default")]
    if len(defaults) > 1:
        scores = [figures["bleu"] for figures in defaults]
        spread = f"{statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} (standard deviation)"
        against_itself = " and ".join(
            f"{min(each[kind] for each in defaults):.2f} to {max(each[kind] for each in defaults):.2f} in {kind}"
            for kind in ("training", "decoding")
        )
        lines += [
            f"Noise: {len(scores)} seeds of the default have a validation BLEU of {spread}. Speeds are ratios to the "
            "default's, measured immediately before. Measured against itself in this way, the default has "
            f"{against_itself}: smaller differences mean nothing. So few seeds say little about the spread of BLEU: "
            "treat differences below one point as undecided.",
            "",
        ]
    lines += ["| variant | parameters | training speed | decoding speed | validation BLEU |", "|---|---|---|---|---|"]
    base = (defaults or list(found.values()))[0]["parameters"]
    for name, figures in found.items():
        lines.append(
            f"| {name} | {figures['parameters'] / 1e6:.2f} M ({figures['parameters'] / base - 1:+.1%}) | "
            f"{figures['training']:.2f} | {figures['decoding']:.2f} | {figures['bleu']:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
