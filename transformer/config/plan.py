"""Plans: trainings, translations and evaluations that build on one another, in one YAML file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import Field, model_validator

from transformer.config.corpora import uncompressed_name
from transformer.config.loading import CONFIG_FILE, load_config, override_config, read_tree, validated
from transformer.config.schema import Config
from transformer.config.section import Section
from transformer.errors import UserError
from transformer.reading import JsonObject, content_hash

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_KINDS = ("train", "translate", "evaluate")


class Stage(Section):
    """One step: exactly one of `train`, `translate` and `evaluate`.

    `${NAME}` in a value stands for the output of an earlier stage: the run directory of `train`, the translations of
    `translate`, or the scores of `evaluate`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Name for later stages to refer to, and of its folder in the plan's `directory`."""
    train: str | None = None
    """A config to train, with the stage's folder as run directory. `${NAME}/config.yaml` is the config of an earlier
    training, including that stage's changes."""
    translate: str | None = None
    """A run, e.g. `${teacher}`, that translates `input`."""
    input: str | None = None
    """The text file to translate, one sentence per line."""
    evaluate: str | None = None
    """A run, e.g. `${student}`, whose test corpus is translated and scored."""
    change: dict[str, JsonObject] = Field(default_factory=dict)
    """Options to override in the config or the run, by section: `{model: {num_decoder_layers: 1}}`."""

    @property
    def kind(self) -> str:
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    def output(self, directory: Path) -> Path:
        """Its output below the plan's directory."""
        folder = directory / self.name
        if self.kind == "translate":
            return folder / uncompressed_name(self.input or "")
        return folder if self.kind == "train" else folder / "scores.json"

    def overrides(self) -> list[str]:
        """`change` as `section.key=value`."""
        return [
            f"{section}.{key}={json.dumps(value, ensure_ascii=False)}"
            for section, options in self.change.items()
            for key, value in options.items()
        ]

    @model_validator(mode="after")
    def _one_kind(self) -> Stage:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a stage does one thing: give one of {', '.join(_KINDS)}")
        if (self.input is None) != (self.translate is None):
            raise ValueError("translate and input belong together")
        for value in (self.train, self.translate, self.input, self.evaluate):
            if value is not None and value.startswith("-"):
                raise ValueError(f"{value} would be read as an option; begin a path with ./")
        allowed = set(Config.model_fields) if self.kind == "train" else {"run", "data", "decoding"}
        for section, options in self.change.items():
            if section not in allowed:
                raise ValueError(f"change: {self.kind} cannot change {section}; only {', '.join(sorted(allowed))}")
            if not all(key.isidentifier() for key in options):
                raise ValueError(f"change: {section} holds a key that is no option: {', '.join(options)}")
        if "directory" in self.change.get("run", {}):
            raise ValueError("run.directory is the stage's folder; leave it out")
        return self


class Plan(Section):
    """Stages in their order, and where they live."""

    directory: str = Field(min_length=1)
    """Holds one folder per stage, and a record of what is done."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """In order; each may use what earlier ones produced."""

    @model_validator(mode="after")
    def _references_exist(self) -> Plan:
        if self.directory.startswith("-"):
            raise ValueError(f"directory: {self.directory} would be read as an option; begin it with ./")
        known: list[str] = []
        for stage in self.stages:
            if stage.name in known:
                raise ValueError(f"two stages are called {stage.name}")
            for name in _names_in(stage):
                if name not in known:
                    raise ValueError(f"stage {stage.name}: ${{{name}}} names no earlier stage ({', '.join(known)})")
            known.append(stage.name)
        return self

    def resolved(self) -> list[Stage]:
        """The stages with `${NAME}` replaced."""
        outputs: dict[str, str] = {}
        found = []
        for stage in self.stages:
            fields = _replaced(stage.model_dump(), outputs)
            found.append(Stage.model_validate(fields))
            outputs[stage.name] = str(found[-1].output(Path(self.directory)))
        return found

    def identities(self) -> dict[str, str]:
        """By stage name, a hash of the stage and of all stages that it builds on."""
        found: dict[str, str] = {}
        for stage, resolved in zip(self.stages, self.resolved(), strict=True):
            needed = {name: found[name] for name in _names_in(stage)}
            found[stage.name] = content_hash({"stage": resolved.model_dump(mode="json"), "needed": needed})
        return found

    def training_configs(self, name: str) -> dict[str, Config]:
        """The config of each training stage, by the stage's name; `name` is the plan's, for messages.

        Raises:
            UserError: a config is missing or wrong, or a change does not fit it.
        """
        written: dict[Path, Config] = {}  # by earlier stages
        found = {}
        for stage in self.resolved():
            if stage.train is None:
                continue
            path = Path(stage.train)
            if path.is_dir() or path / CONFIG_FILE in written:
                raise UserError(
                    f"{name}: stage {stage.name}: train takes a config file, and {path} is a directory; for a "
                    f"run's config add /{CONFIG_FILE}, to start from its weights give training.start_from"
                )
            if path in written and not path.exists():  # its stage has not started
                config = override_config(written[path], stage.overrides())
            else:
                config = load_config(path, stage.overrides())
            written[stage.output(Path(self.directory)) / CONFIG_FILE] = found[stage.name] = config
        return found


def load_plan(path: str | Path) -> Plan:
    """Read a plan; raises as `load_config`."""
    tree, origins = read_tree(Path(path))
    return validated(Plan, tree, origins, str(path))


def _names_in(stage: Stage) -> list[str]:
    """The names of the stages that a stage refers to."""
    return _REFERENCE.findall(stage.model_dump_json())


def _replaced(value: object, outputs: dict[str, str]) -> object:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: outputs[match[1]], value)
    if isinstance(value, dict):
        return {key: _replaced(entry, outputs) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(entry, outputs) for entry in value]
    return value
