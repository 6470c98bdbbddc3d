"""The options themselves: documented, bounded, consistent with each other, and visible to editors."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from transformer.config import (
    MAY_CHANGE_ON_RESUME,
    Config,
    CorpusSection,
    DecodingSection,
    ModelSection,
    TokenizerSection,
    TrainingSection,
    ValidationSection,
    config_schema,
    parse_config,
)
from transformer.errors import UserError

SECTIONS = {name: field.annotation for name, field in Config.model_fields.items()}
OPTIONS = {f"{name}.{option}" for name, section in SECTIONS.items() for option in section.model_fields}  # type: ignore[union-attr]


@pytest.mark.parametrize("section", [*SECTIONS.values(), CorpusSection], ids=lambda section: section.__name__)
def test_every_option_says_what_it_means(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description and field.description.endswith("."), f"{section.__name__}.{name}"


def test_the_options_that_may_change_on_resume_exist() -> None:
    assert MAY_CHANGE_ON_RESUME <= OPTIONS
    assert "model.d_model" not in MAY_CHANGE_ON_RESUME


def test_the_defaults_are_the_papers_base_model(config: Config) -> None:
    model, training, decoding = config.model, config.training, config.decoding
    assert (model.d_model, model.d_ff, model.num_heads, model.dropout, model.norm) == (512, 2048, 8, 0.1, "post")
    assert (model.num_encoder_layers, model.num_decoder_layers, model.tied_embeddings) == (6, 6, "three_way")
    assert (training.betas, training.epsilon, training.weight_decay) == ((0.9, 0.98), 1e-9, 0.0)
    assert (training.schedule, training.learning_rate, training.warmup_updates) == ("noam", None, 4000)
    assert training.label_smoothing == 0.1
    assert (decoding.beam_size, decoding.gnmt_length_penalty, decoding.max_length_extra) == (4, 0.6, 50)


def test_a_config_cannot_be_changed_after_it_was_checked(config: Config) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config.model.d_model = 30


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        (ModelSection, {"d_model": 30, "num_heads": 4}, "d_model 30 is not divisible by num_heads 4"),
        (ModelSection, {"d_model": 15, "num_heads": 5}, "d_model 15 is odd"),
        (ModelSection, {"dropout": 1.0}, "less than 1"),
        (TrainingSection, {"weight_decay": 0.1}, "weight_decay 0.1 needs optimizer: adamw"),
        (TrainingSection, {"average_checkpoints": 9, "keep_checkpoints": 8}, "average_checkpoints 9 is more than"),
        (TrainingSection, {"warmup_updates": 0}, "noam needs warmup_updates"),
        (
            TrainingSection,
            {"schedule": "cosine", "learning_rate": 1.0, "warmup_updates": 7, "max_updates": 7},
            "leaves nothing of",
        ),
        (TrainingSection, {"schedule": "linear"}, "schedule linear needs learning_rate"),
        (TrainingSection, {"learning_rate": float("inf")}, "finite"),
        (TrainingSection, {"betas": (0.9, 1.0)}, "less than 1"),
        (ValidationSection, {"max_sentences": 0}, "metric bleu needs translations"),
        (DecodingSection, {"n_best": 5}, "n_best 5 is more than beam_size 4"),
        (DecodingSection, {"max_length_ratio": 0, "max_length_extra": 0}, "no token could be written"),
        (DecodingSection, {"checkpoint": "../../etc"}, "pattern"),
        (DecodingSection, {"top_p": 0.9}, "top_p is for method: sample, and method is beam"),
        (DecodingSection, {"seed": 2}, "seed is for method: sample, and method is beam"),
        (DecodingSection, {"method": "sample", "patience": 1}, "patience is for method: beam, and method is sample"),
        (DecodingSection, {"method": "sample", "temperature": 0}, "temperature"),
        (DecodingSection, {"candidates": 3}, "candidates are for rerank: mbr or noisy_channel"),
        (DecodingSection, {"mbr_utility": "bleu"}, "mbr_utility is for rerank: mbr, and rerank is none"),
        (DecodingSection, {"rerank": "noisy_channel"}, "needs reverse"),
        (DecodingSection, {"rerank": "mbr", "candidates": 5}, "candidates 5 are more than beam_size 4"),
        (DecodingSection, {"rerank": "mbr", "beam_size": 1}, "rerank mbr has 1 candidates; give 2 at least"),
        (DecodingSection, {"rerank": "mbr", "candidates": 2, "n_best": 3}, "give 2 at least, and n_best"),
        (TokenizerSection, {"target_model": "m"}, "target_model is for shared: false"),
        (TokenizerSection, {"shared": False, "source_model": "m"}, "both source_model and target_model"),
        (TokenizerSection, {"vocab_size": 260}, "greater than 260"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    section: type[BaseModel], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        section.model_validate(options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tokenizer: {shared: false}", "three_way needs tokenizer.shared: true"),
        ("model: {dropout: 0, layer_drop: 0.1}\ntraining: {r_drop: 5}", "compares two draws of dropout"),
        ("training: {checkpoint_every: 300}", "validation.every 1000 must be a multiple"),
    ],
)
def test_sections_agree_with_each_other(minimal: str, change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config(f"{minimal}{change}\n", "c.yaml")


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)


def test_the_json_schema_documents_every_option_and_forbids_others() -> None:
    schema = json.loads(json.dumps(config_schema()))
    described = list(objects(schema))
    assert len(described) == len(SECTIONS) + 2  # the config itself, and a corpus
    for part in described:
        assert part["additionalProperties"] is False
    for section in schema["$defs"].values():
        for name, option in section["properties"].items():
            assert option.get("description"), name
