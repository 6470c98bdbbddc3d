"""scripts/ablation.py: what it computes itself."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import ablation
from trials.recipe import Recipe

from transformer.config import load_config
from transformer.errors import UserError
from transformer.runtime.atomic import write_file

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "multi30k_en_de.yaml")


@pytest.mark.parametrize("choice", ablation.CHOICES)
def test_every_choice_is_a_config_that_fits_into_a_budget(choice: str) -> None:
    budget = ["training.max_updates=800", "training.warmup_updates=120", "validation.every=100"]
    load_config(CONFIG, [*ablation.CHOICES[choice], *budget])


def test_a_budget_is_as_many_updates_as_its_speed_allows() -> None:
    speed = {"target_tokens_per_second": 2000.0, "batch_tokens": 2500.0}
    assert ablation.updates_in(10, speed) == 480
    assert ablation.updates_in(10, speed | {"target_tokens_per_second": 1000.0}) == 240
    assert ablation.updates_in(0.001, speed) == 8


def test_the_page_compares_each_choice_with_the_recipe_over_all_seeds(tiny_project: Path, tmp_path: Path) -> None:
    recipe = Recipe(str(tiny_project / "config.yaml"), tmp_path, [], ablation.CHOICES | ablation.TRIALS)
    references = (tiny_project / "test.en").read_text().splitlines()
    speeds = {choice: {"target_tokens_per_second": 1500.0} for choice in ("the recipe", "Muon", "no average")}
    for choice, lines in (("the recipe", ["x"] * len(references)), ("Muon", references), ("no average", references)):
        for seed in ablation.SEEDS:
            trial = f"{choice}, seed {seed}"
            write_file(ablation.translations(recipe.run(trial)), "".join(f"{line}\n" for line in lines).encode())
            if choice != "no average":
                recipe.once(trial, "10_minutes", lambda name: {"BLEU": 7.0, "updates": 80})
    text = ablation.page(recipe, ["the recipe", "Muon"], 10, speeds)
    (row,) = (line for line in text.splitlines() if line.startswith("| Muon"))
    assert row.startswith("| Muon | 1,500 | 80 | 7.00, 7.00 | +100.00 (+100.00 to +100.00) | 0.000")
    assert "tok:13a" in text
    with pytest.raises(UserError, match="no average, seed 1: was not trained"):
        ablation.page(recipe, ["the recipe", "no average"], 10, speeds)
