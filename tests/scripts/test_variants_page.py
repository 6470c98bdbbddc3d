"""scripts/variants.py and scripts/scaling.py: what they compute themselves."""

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import scaling
import variants

from transformer.config import load_config
from transformer.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FIGURES = {
    "parameters": 7_500_000,
    "train_tokens_per_second": 6000.0,
    "decode_sentences_per_second": 200.0,
    "bleu": 30.0,
    "minutes": 4.0,
}


def test_speeds_are_ratios_to_the_defaults_median_and_seeds_give_the_noise() -> None:
    found = {f"default, seed {seed}": FIGURES | {"bleu": 29.0 + seed} for seed in variants.SEEDS}
    found["SSRU"] = FIGURES | {
        "decode_sentences_per_second": 250.0,
        "train_tokens_per_second": 3000.0,
        "parameters": 6_750_000,
    }
    page = variants.page(found, "x.yaml")
    assert "3 seeds of the default have a validation BLEU of 31.00 ± 1.00 (standard deviation)" in page
    assert "| SSRU | 6.75 M (-10.0%) | 0.50 | 1.25 | 30.00 | 4.0 |" in page


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_every_variant_is_a_config(name: str) -> None:
    load_config(CONFIGS / "multi30k_four_minutes.yaml", variants.VARIANTS[name])


def test_figures_of_another_recipe_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    identity = {"config": "x.yaml", "overrides": []}
    (tmp_path / "SSRU.json").write_text(json.dumps({"identity": identity, "figures": FIGURES}))
    assert variants.measured("x.yaml", tmp_path, "SSRU", []) == FIGURES
    with pytest.raises(UserError, match=r"SSRU\.json: of .* use another folder"):
        variants.measured("y.yaml", tmp_path, "SSRU", [])


def test_a_perturbed_sentence_has_the_same_words() -> None:
    words = ["a", "b", "c", "d", "e"]
    found = {scaling.perturbed(" ".join(words), random.Random(seed)) for seed in range(30)}
    assert len(found) == 4
    assert all(sorted(sentence.split()) == words and sentence.split() != words for sentence in found)
    assert scaling.perturbed("alone", random.Random(0)) == "alone"


def test_a_corpus_of_any_size_with_a_tokenizer_of_its_own(tiny_project: Path, tmp_path: Path) -> None:
    config = load_config(next(tiny_project.glob("*.yaml")))
    pairs = [("der Hund", "the dog"), ("das Haus", "the house")]
    own = load_config(scaling.write_corpus(config, pairs, 5, tmp_path))
    assert len((tmp_path / "train.source").read_text().splitlines()) == 5
    assert Path(own.tokenizer.source_model or "").is_file()
    assert own.model == config.model
