"""Typed options from YAML files and `section.key=value` overrides."""

from transformer.config.corpora import CorpusSection, table_format
from transformer.config.decoding_section import DecodingSection
from transformer.config.loading import (
    CONFIG_FILE,
    Overrides,
    Sections,
    as_config,
    changed_keys,
    config_schema,
    dump_config,
    is_override,
    load_config,
    overridden_sections,
    override_config,
    parse_config,
)
from transformer.config.model_section import ModelSection
from transformer.config.schema import MAY_CHANGE_ON_RESUME, SPLITS, Config, TokenizerSection, ValidationSection
from transformer.config.training_section import TrainingSection

__all__ = [
    "CONFIG_FILE",
    "MAY_CHANGE_ON_RESUME",
    "SPLITS",
    "Config",
    "CorpusSection",
    "DecodingSection",
    "ModelSection",
    "Overrides",
    "Sections",
    "TokenizerSection",
    "TrainingSection",
    "ValidationSection",
    "as_config",
    "changed_keys",
    "config_schema",
    "dump_config",
    "is_override",
    "load_config",
    "overridden_sections",
    "override_config",
    "parse_config",
    "table_format",
]
