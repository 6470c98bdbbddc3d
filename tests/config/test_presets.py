"""The shipped config files load, editors accept them, and the paper's two models are the paper's."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from transformer.config import Config, ModelSection, config_schema, load_config
from transformer.config.model_section import PRESETS as MODEL_PRESET_FILES
from transformer.config.model_section import Preset
from transformer.config.plan import load_plan
from transformer.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
PRESETS = sorted(CONFIGS.glob("*.yaml"))
PLANS = sorted(CONFIGS.glob("plans/*.yaml"))
PRIMITIVES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Whether an editor that knows the JSON Schema would leave the value unmarked (the keywords used here)."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], value, root)
    if "anyOf" in schema:
        return any(accepts(option, value, root) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "object":
        options = schema["properties"]
        complete = isinstance(value, dict) and set(schema.get("required", ())) <= set(value) <= set(options)
        return complete and all(accepts(options[name], part, root) for name, part in value.items())
    if schema["type"] == "array":
        parts = schema.get("prefixItems") or [schema["items"]] * (len(value) if isinstance(value, list) else 0)
        return isinstance(value, list) and all(map(accepts, parts, value, [root] * len(parts)))
    return isinstance(value, PRIMITIVES[schema["type"]]) and (schema["type"] == "boolean") == isinstance(value, bool)


def test_there_are_presets() -> None:
    assert {"demo", "wmt14_en_de_base", "wmt14_en_de_big"} <= {path.stem for path in PRESETS}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_shipped_config_loads_and_editors_accept_it(path: Path) -> None:
    config = load_config(path)
    assert config.run.directory == f"runs/{path.stem}"  # no two of them write into one another
    root = config_schema()
    raw = yaml.safe_load(path.read_text("utf-8"))
    assert accepts(root, raw, root)
    assert not accepts(root, raw | {"modle": {}}, root)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_stages_of_a_shipped_plan_are_sound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    plan = load_plan(path)
    assert plan.directory == f"runs/{path.stem}"
    assert plan.training_configs(str(path))


def test_the_shipped_json_schema_is_the_current_one() -> None:
    shipped = json.loads((CONFIGS / "schema.json").read_text("utf-8"))
    assert shipped == json.loads(json.dumps(config_schema())), "transformer config schema > configs/schema.json"


@pytest.mark.parametrize(
    ("name", "d_model", "d_ff", "num_heads", "dropout", "updates", "averaged"),
    [("base", 512, 2048, 8, 0.1, 100_000, 5), ("big", 1024, 4096, 16, 0.3, 300_000, 20)],
)
def test_the_paper_models_are_those_of_its_table_3(
    name: str, d_model: int, d_ff: int, num_heads: int, dropout: float, updates: int, averaged: int
) -> None:
    config = load_config(CONFIGS / f"wmt14_en_de_{name}.yaml")
    model = config.model
    assert (model.d_model, model.d_ff, model.num_heads, model.dropout) == (d_model, d_ff, num_heads, dropout)
    assert (model.num_encoder_layers, model.num_decoder_layers) == (6, 6)
    assert (model.norm, model.tied_embeddings) == ("post", "three_way")  # sections 3.1 and 3.4
    assert (config.training.max_updates, config.training.average_checkpoints) == (updates, averaged)
    check_section_5_and_6(config)


def check_section_5_and_6(config: Config) -> None:
    training, decoding = config.training, config.decoding
    assert (config.tokenizer.model_type, config.tokenizer.vocab_size, config.tokenizer.shared) == ("bpe", 37_000, True)
    assert training.batch_tokens == 25_000
    assert (training.optimizer, training.betas, training.epsilon) == ("adam", (0.9, 0.98), 1e-9)
    assert (training.schedule, training.learning_rate, training.warmup_updates) == ("noam", 1.0, 4000)
    assert (training.label_smoothing, training.max_gradient_norm) == (0.1, None)
    assert (decoding.beam_size, decoding.gnmt_length_penalty) == (4, 0.6)
    assert (decoding.max_length_ratio, decoding.max_length_extra) == (1.0, 50)


MODEL_PRESETS = sorted(MODEL_PRESET_FILES.glob("*.yaml"))


@pytest.mark.parametrize("path", MODEL_PRESETS, ids=lambda path: path.stem)
def test_a_model_preset_stands_for_its_options_and_yields_to_given_ones(path: Path) -> None:
    options = yaml.safe_load(path.read_text("utf-8"))
    model = ModelSection(preset=path.stem)
    assert {name: getattr(model, name) for name in options} == options
    assert ModelSection(preset=path.stem, dropout=0.45) == model.model_copy(update={"dropout": 0.45})
    assert ModelSection(**model.model_dump()) == model  # as a run's own config has it


def test_every_preset_has_its_file_and_every_file_its_name() -> None:
    assert {path.stem for path in MODEL_PRESETS} == set(get_args(Preset))


def test_a_preset_on_the_command_line_wins_over_the_file_and_yields_to_what_stands_beside_it() -> None:
    config = load_config(CONFIGS / "demo.yaml", ["model.dropout=0.4", "model.preset=transformer-big"])
    assert (config.model.d_model, config.model.num_encoder_layers, config.model.dropout) == (1024, 6, 0.4)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.preset: input should be 'transformer-base', .* \(it is '../x'\)"):
        load_config(CONFIGS / "demo.yaml", ["model.preset=../x"])
