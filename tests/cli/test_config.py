"""`transformer config`: the schema and the resolved config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from transformer.config import Config, load_config, parse_config

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


def test_schema_knows_every_section_and_documents_every_option(output: Callable[..., str]) -> None:
    schema = json.loads(output("config", "schema"))
    assert schema["properties"].keys() == Config.model_fields.keys()
    options = {
        (name, key): option
        for name, section in schema["$defs"].items()
        for key, option in section.get("properties", {}).items()
    }
    assert ("ModelSection", "d_model") in options
    assert [place for place, option in options.items() if not option.get("description")] == []


def test_the_schema_beside_the_configs_is_the_present_one(output: Callable[..., str]) -> None:
    assert (CONFIGS[0].parent / "schema.json").read_text("utf-8") == output("config", "schema")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_show_gives_the_whole_config_back(output: Callable[..., str], path: Path) -> None:
    shown = output("config", "show", path, "training.max_updates=123456")
    assert parse_config(shown, "shown") == load_config(path, ["training.max_updates=123456"])
    tree = yaml.safe_load(shown)
    assert tree["training"]["max_updates"] == 123456
    for name, section in Config.model_fields.items():
        assert tree[name].keys() == section.annotation.model_fields.keys()  # type: ignore[union-attr]


def test_show_takes_a_run(output: Callable[..., str], tiny_run: Path) -> None:
    assert parse_config(output("config", "show", tiny_run), "shown") == load_config(tiny_run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "needs a config file or a run directory"),
        (["schema", "configs/demo.yaml"], "takes no arguments, not configs/demo.yaml"),
        (["show", "CONFIG", "model.width=3"], "model.width: unknown key"),
        (["show", "CONFIG", "model.d_modle=3"], "did you mean d_model?"),
        (["show", "CONFIG", "nonsense"], "nonsense: an override reads section.key=value"),
        (["show", "CONFIG", "run.device=tpu"], "run.device"),
        (["show", "CONFIG", "model.num_heads=3"], "d_model 32 is not divisible by num_heads 3"),
    ],
)
def test_refusals(refusal: Callable[..., str], tiny_project: Path, arguments: list[str], message: str) -> None:
    config = str(tiny_project / "config.yaml")
    assert message in refusal("config", *(config if argument == "CONFIG" else argument for argument in arguments))
