"""scripts/lab/variants.py and scripts/lab/scaling.py: what they compute themselves."""

import random
from pathlib import Path

import pytest

import scaling
import variants
from transformer.config import load_config
from transformer.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FIGURES = {"parameters": 7_500_000, "bleu": 30.0, "training": 1.0, "decoding": 1.0}


def test_seeds_of_the_default_give_the_noise() -> None:
    found = {f"default, seed {seed}": FIGURES | {"bleu": 29.0 + seed} for seed in variants.SEEDS}
    found["SSRU"] = FIGURES | {"decoding": 1.25, "training": 0.5, "parameters": 6_750_000}
    found["default, seed 2"] |= {"training": 1.5}
    page = variants.table(found, "x.yaml")
    assert "3 seeds of the default have a validation BLEU of 31.00 ± 1.00 (standard deviation)" in page
    assert "the default has 1.00 to 1.50 in training and 1.00 to 1.00 in decoding" in page
    assert "| SSRU | 6.75 M (-10.0%) | 0.50 | 1.25 | 30.00 |" in page


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_every_variant_is_a_config(name: str) -> None:
    load_config(CONFIGS / "multi30k_four_minutes.yaml", variants.VARIANTS[name])


def test_figures_of_another_recipe_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    recipe = variants.Recipe("x.yaml", tmp_path, [], variants.VARIANTS)
    assert recipe.once("SSRU", "score", lambda name: FIGURES) == FIGURES
    assert recipe.once("SSRU", "score", lambda name: pytest.fail("measured again")) == FIGURES
    with pytest.raises(UserError, match=r"SSRU\.score\.json: of .* use another folder"):
        variants.Recipe("x.yaml", tmp_path, [], {"SSRU": []}).once("SSRU", "score", lambda name: FIGURES)


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
