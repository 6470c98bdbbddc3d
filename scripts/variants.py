"""Train every variant of the model equally long, and write the table of docs/variants.md.

    python scripts/variants.py CONFIG FOLDER PAGE [--only NAME …] [section.key=value …]

CONFIG is the default model's recipe, e.g. configs/multi30k_four_minutes.yaml, whose number of updates is everybody's
budget. Each variant is a run in FOLDER; one that is finished is not trained again, so that the script goes on where it
was stopped. The default is trained with three seeds, whose spread is the noise. Speeds are ratios to the default's; run
nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer.cli.wiring import say
from transformer.config import load_config
from transformer.errors import UserError
from transformer.runtime.atomic import write_file

SEEDS = (1, 2, 3)
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
Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for all variants")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", default=list(VARIANTS))
    arguments = parser.parse_intermixed_args()
    try:
        load_config(arguments.config, arguments.overrides)
        found = {
            name: measured(arguments.config, arguments.folder, name, arguments.overrides) for name in arguments.only
        }
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_file(arguments.page, page(found, arguments.config).encode())
    return 0


def measured(config: str, folder: Path, name: str, overrides: Sequence[str]) -> Figures:
    """Train a variant, or find it trained, and measure it."""
    run = folder / "".join(letter if letter.isalnum() else "_" for letter in name)
    result = folder / f"{run.name}.json"
    identity = {"config": config, "overrides": list(overrides)}
    if result.is_file():
        before = json.loads(result.read_text("utf-8"))
        if before["identity"] != identity:
            raise UserError(f"{result}: of {before['identity']}, not of {identity}; use another folder")
        return before["figures"]  # type: ignore[no-any-return]
    say(f"variant {name}")
    start = time.perf_counter()
    command("-m", "transformer", "train", config, *overrides, *VARIANTS[name], f"run.directory={run}")
    minutes = (time.perf_counter() - start) / 60
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    speeds = [record["target_tokens_per_second"] for record in records if record["kind"] == "train"]
    scores, speed = folder / f"{run.name}.scores.json", folder / f"{run.name}.decode.json"
    command("-m", "transformer", "evaluate", str(run), "--split", "validation", "--json", str(scores))
    benchmark = str(Path(__file__).with_name("benchmark.py"))
    command(benchmark, "decode", str(run), "--repeats", "3", "--json", str(speed))
    report: dict[str, Any] = json.loads(scores.read_text("utf-8"))
    decoding: dict[str, Any] = json.loads(speed.read_text("utf-8"))
    figures = {
        "parameters": parameters(run),
        "train_tokens_per_second": statistics.median(speeds),
        "decode_sentences_per_second": decoding["median"]["sentences_per_second"],
        "bleu": next(score["score"] for score in report["scores"] if score["name"] == "BLEU"),
        "minutes": minutes,
    }
    write_file(result, json.dumps({"identity": identity, "figures": figures}).encode())
    return figures


def command(*arguments: str) -> None:
    """Run Python in a process of its own.

    Raises:
        UserError: where it fails.
    """
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)}: failed with exit code {done.returncode}")


def parameters(run: Path) -> int:
    from transformer.checkpoint.load import load_model

    return sum(parameter.numel() for parameter in load_model(run).model.parameters())


def page(found: dict[str, Figures], config: str) -> str:
    """The Markdown page."""
    defaults = [figures for name, figures in found.items() if name.startswith("default")]
    base = {
        key: statistics.median(figures[key] for figures in defaults or found.values())
        for key in ("parameters", "train_tokens_per_second", "decode_sentences_per_second")
    }
    lines = [
        "# Variants",
        "",
        f"Written by `scripts/variants.py {config}`: every variant trained for the same updates.",
        "",
    ]
    if len(defaults) > 1:
        scores = [figures["bleu"] for figures in defaults]
        spread = f"{statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} (standard deviation)"
        lines += [f"Noise: {len(scores)} seeds of the default have a validation BLEU of {spread}.", ""]
    lines += [
        "| variant | parameters | training speed | decoding speed | validation BLEU | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in found.items():
        training = figures["train_tokens_per_second"] / base["train_tokens_per_second"]
        decoding = figures["decode_sentences_per_second"] / base["decode_sentences_per_second"]
        more = figures["parameters"] / base["parameters"] - 1
        lines.append(
            f"| {name} | {figures['parameters'] / 1e6:.2f} M ({more:+.1%}) | {training:.2f} | {decoding:.2f} | "
            f"{figures['bleu']:.2f} | {figures['minutes']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
