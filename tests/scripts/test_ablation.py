"""scripts/lab/ablation.py: what it computes itself."""

from pathlib import Path

import pytest

import ablation
from transformer.config import load_config
from transformer.errors import UserError
from transformer.runtime.files import write_file
from trials.recipe import Recipe

AVERAGED = "always the mean of 4"
CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "multi30k_en_de.yaml")


@pytest.mark.parametrize("choice", ablation.CHOICES)
def test_every_choice_is_a_config_that_fits_into_a_budget(choice: str) -> None:
    budget = ["training.max_updates=800", "training.warmup_updates=120", "validation.every=100"]
    load_config(CONFIG, [*ablation.CHOICES[choice], *budget])


def test_a_budget_is_as_many_updates_as_its_speed_allows() -> None:
    assert ablation.updates_in(10, {"updates_per_second": 0.8}) == 480
    assert ablation.updates_in(10, {"updates_per_second": 0.4}) == 240
    assert ablation.updates_in(0.001, {"updates_per_second": 0.8}) == 8


def test_the_table_compares_each_choice_with_the_recipe_seed_by_seed(tiny_project: Path, tmp_path: Path) -> None:
    recipe = Recipe(str(tiny_project / "config.yaml"), tmp_path, [], ablation.CHOICES | ablation.TRIALS)
    references = (tiny_project / "test.en").read_text().splitlines()
    speeds = {"target_tokens_per_second": 1500.0, "updates_per_second": 0.5}
    for choice, lines in ((ablation.RECIPE, ["x"] * len(references)), ("Muon", references), (AVERAGED, references)):
        for seed in ablation.SEEDS:
            trial = f"{choice}, seed {seed}"
            write_file(ablation.translations(recipe.run(trial)), "".join(f"{line}\n" for line in lines).encode())
            recipe.once(trial, "10_minutes", lambda name: {"updates": 80})
        if choice != AVERAGED:
            recipe.once(choice, "speed", lambda name: speeds)
    text = ablation.table(recipe, [ablation.RECIPE, "Muon", AVERAGED], ablation.SEEDS, 10)
    whole = "+100.00 (+100.00 to +100.00)"
    for choice in ("Muon", AVERAGED):
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {choice}"))
        assert row.startswith(f"| {choice} | 1,500 | 80 | 100.00, 100.00 | 100.00 | {whole}, {whole} | 0.00")
    assert "tok:13a" in text
    for seed in ablation.SEEDS:
        write_file(ablation.translations(recipe.run(f"dropout 0.1, seed {seed}")), b"x\n" * len(references))
    with pytest.raises(UserError, match=r"dropout 0\.1: not trained yet"):
        ablation.table(recipe, [ablation.RECIPE, "dropout 0.1"], ablation.SEEDS, 10)


def test_what_changes_decoding_alone_shares_the_training_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    evaluated: list[tuple[str, ...]] = []

    def train(recipe: Recipe, name: str, *more: str) -> Path:
        trained.append(name)
        return recipe.run(name)

    def reported(*arguments: str) -> dict[str, object]:
        evaluated.append(arguments)
        return {"scores": [{"name": "BLEU", "value": 38.0}]}

    monkeypatch.setattr(Recipe, "train", train)
    monkeypatch.setattr(ablation, "reported", reported)
    recipe = Recipe(CONFIG, tmp_path, [], ablation.CHOICES | ablation.TRIALS)
    for choice in (AVERAGED, "Muon"):
        assert ablation.train_for(recipe, 80, choice, 2, f"{choice}, seed 2") == {"BLEU": 38.0, "updates": 80}
    assert trained == ["the recipe, seed 2", "Muon, seed 2"]
    assert [arguments[4:-1] for arguments in evaluated] == [("decoding.checkpoint=averaged", "--output"), ("--output",)]
    assert evaluated[0][-1] != evaluated[1][-1]
