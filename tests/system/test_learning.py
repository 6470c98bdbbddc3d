"""From raw text to translations through the command line alone: what is easy to learn must be learned."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from transformer.cli import main

# Twelve pairs, with accents, other scripts, punctuation and case that must survive tokenizer and detokenizer.
PAIRS = [
    ("Guten Morgen!", "Good morning!"),
    ("Wie geht es dir?", "How are you?"),
    ("Der Hund schläft.", "The dog is sleeping."),
    ("Die Katze schläft nicht.", "The cat isn't asleep."),
    ("Ich hätte gern zwei Äpfel.", "I'd like two apples, please."),
    ("Das kostet 3,50 €.", "That costs €3.50."),
    ("Sie wohnt in Zürich.", "She lives in Zürich."),
    ("Wir lernen Chinesisch (你好).", "We are learning Chinese (你好)."),
    ("Er sagte: „Komm!“", 'He said: "Come!"'),
    ("Ja.", "Yes."),
    ("Nein, danke.", "No, thank you."),
    ("Straße oder Weg?", "Street or path?"),
]
SYMBOLS = "abcdefghijkl"


def write(path: Path, lines: list[str]) -> str:
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return str(path)


def config(folder: Path, corpora: dict[str, list[tuple[str, str]]], **sections: dict[str, object]) -> Path:
    """Write corpora and a config of a small pre-norm model."""
    data: dict[str, object] = {
        "source_language": "de",
        "target_language": "en",
        "prepared_directory": str(folder / "p"),
    }
    for split, pairs in corpora.items():
        sides = [list(side) for side in zip(*pairs, strict=True)]
        data[split] = {
            side: write(folder / f"{split}.{side}", lines)
            for side, lines in zip(("source", "target"), sides, strict=True)
        }
    model = {
        "d_model": 64,
        "d_ff": 128,
        "num_heads": 4,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "norm": "pre",
    }
    run = {"directory": str(folder / "run"), "threads": 1, "device": "cpu"}
    tree = {"run": run, "data": data, **sections, "model": model | sections.get("model", {})}
    (folder / "config.yaml").write_text(json.dumps(tree), "utf-8")  # JSON is YAML
    return folder / "config.yaml"


def test_a_handful_of_pairs_is_memorised_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(
        tmp_path,
        {"train": PAIRS, "validation": PAIRS},
        tokenizer={"vocab_size": 320},
        model={"dropout": 0.0, "num_encoder_layers": 1, "num_decoder_layers": 1},
        training={
            "max_updates": 300,
            "batch_tokens": 1000,
            "schedule": "linear",
            "learning_rate": 0.005,
            "warmup_updates": 20,
            "max_gradient_norm": 1.0,
            "label_smoothing": 0.0,
            "precision": "fp32",
            "average_checkpoints": 0,
        },
        validation={"every": 300, "metric": "loss", "max_sentences": 0},
    )
    assert main(["train", str(path)]) == 0
    capsys.readouterr()
    assert main(["translate", str(tmp_path / "run"), *(source for source, _ in PAIRS)]) == 0
    assert capsys.readouterr().out.splitlines() == [target for _, target in PAIRS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"), [("copy", lambda words: words), ("reverse", lambda words: words[::-1])], ids=["copy", "reverse"]
)
def test_a_rule_is_learned_and_holds_for_new_strings(
    tmp_path: Path, name: str, task: Callable[[list[str]], list[str]]
) -> None:
    draw = random.Random(1)
    strings = sorted({tuple(draw.choices(SYMBOLS, k=draw.randint(3, 10))) for _ in range(12_000)})
    draw.shuffle(strings)
    pairs = [(" ".join(string), " ".join(task(list(string)))) for string in strings]
    corpora = {"test": pairs[:300], "validation": pairs[300:400], "train": pairs[400:]}
    path = config(
        tmp_path,
        corpora,
        tokenizer={"vocab_size": 285},
        training={
            "max_updates": 1000,
            "batch_tokens": 2048,
            "schedule": "inverse_sqrt",
            "learning_rate": 0.002,
            "warmup_updates": 300,
            "max_gradient_norm": 1.0,
            "precision": "fp32",
        },
        validation={"every": 250, "patience": 3},
    )
    assert main(["train", str(path), "validation.patience=4"]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "scores.json")]) == 0
    scores = {score["name"]: score["value"] for score in json.loads((tmp_path / "scores.json").read_text())["scores"]}
    assert scores["BLEU"] > 98, name
