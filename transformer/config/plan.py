"""Stages that build on one another: trainings, translations and evaluations, in one YAML file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from transformer.config.corpora import uncompressed_name
from transformer.config.loading import CONFIG_FILE, load_config, override_config, read_tree, validated
from transformer.config.schema import Config
from transformer.config.section import Section
from transformer.errors import UserError
from transformer.reading import content_hash

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_KINDS = ("train", "translate", "evaluate")


class Stage(Section):
    """One step: exactly one of `train`, `translate` and `evaluate`.

    `${NAME}` anywhere in its values stands for what an earlier stage leaves: a run directory after `train`, a file of
    translations after `translate`, a file of scores after `evaluate`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """What later stages call it; its folder below the plan's `directory`."""
    train: str | None = None
    """A config to train; its run directory is the stage's folder. `${NAME}/config.yaml` is that of an earlier training,
    whose stage's changes hold here, too."""
    translate: str | None = None
    """A run, e.g. `${teacher}`, that translates `input`."""
    input: str | None = None
    """The text file that `translate` translates, a sentence a line."""
    evaluate: str | None = None
    """A run, e.g. `${student}`, whose test corpus is translated and scored."""
    change: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options laid over those of the config or the run, as sections: `{model: {num_decoder_layers: 1}}`."""

    @property
    def kind(self) -> str:
        """`train`, `translate` or `evaluate`."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    def output(self, directory: Path) -> Path:
        """What it leaves below the plan's directory."""
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
    """Holds a folder for each stage, and what is done."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """Each may use what those before it left."""

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
        """A hash of what each stage does, and of what the stages do that it builds on, by its name."""
        found: dict[str, str] = {}
        for stage, resolved in zip(self.stages, self.resolved(), strict=True):
            needed = {name: found[name] for name in _names_in(stage)}
            found[stage.name] = content_hash({"stage": resolved.model_dump(mode="json"), "needed": needed})
        return found

    def training_configs(self, name: str) -> dict[str, Config]:
        """What each stage that trains will train, by the stage's name.

        Args:
            name: the plan's, for messages.

        Raises:
            UserError: for a config that is missing or wrong, or changes that are none of a config.
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
            if path in written and not path.exists():  # its stage has not begun
                config = override_config(written[path], stage.overrides())
            else:
                config = load_config(path, stage.overrides())
            written[stage.output(Path(self.directory)) / CONFIG_FILE] = found[stage.name] = config
        return found


def load_plan(path: str | Path) -> Plan:
    """Read a plan.

    Raises:
        UserError: for a missing or unreadable file, bad YAML, an unknown key or a wrong value.
    """
    tree, origins = read_tree(Path(path))
    return validated(Plan, tree, origins, str(path))


def _names_in(stage: Stage) -> list[str]:
    """Of the stages that it refers to."""
    return _REFERENCE.findall(stage.model_dump_json())


def _replaced(value: Any, outputs: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: outputs[match[1]], value)
    if isinstance(value, dict):
        return {key: _replaced(entry, outputs) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(entry, outputs) for entry in value]
    return value
