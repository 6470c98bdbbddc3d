"""YAML text and overrides into a `Config`, with every refusal naming file, line, key and the nearest valid name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from transformer.config.schema import Config
from transformer.errors import UserError

MAX_BYTES = 1_000_000  # a config is a page of text; more is a mistake or an attack
MAX_DEPTH = 16

Key = tuple[str | int, ...]
_OVERRIDE = re.compile(r"^(" + "|".join(Config.model_fields) + r")((?:\.[A-Za-z_0-9]+)+)=(.*)$", re.DOTALL)


def is_override(argument: str) -> bool:
    """Whether a command-line argument reads `section.key=value` with a section that exists."""
    return _OVERRIDE.match(argument) is not None


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file, or the config of a run directory, and lay overrides over it.

    Raises:
        UserError: for a missing or unreadable file, bad YAML, an unknown key or a wrong value.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path}: this directory is no run (it holds no config.yaml); name a config file or a run")
        path = path / "config.yaml"
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size} bytes is no config (at most {MAX_BYTES})")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file or run directory; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    return parse_config(text, str(path), overrides)


def parse_config(text: str, name: str, overrides: Sequence[str] = ()) -> Config:
    """Build a `Config` from YAML text; `name` stands for the file in messages."""
    tree, lines = _read_yaml(text, name)
    origins = {key: f"{name}:{line}" for key, line in lines.items()}
    return _validate(_with_overrides(tree, origins, overrides), origins, name)


def override_config(config: Config, overrides: Sequence[str]) -> Config:
    """The same config with overrides laid over it."""
    if not overrides:
        return config
    origins: dict[Key, str] = {}
    tree = _with_overrides(config.model_dump(mode="json"), origins, overrides)
    return _validate(tree, origins, "config")


def dump_config(config: Config) -> str:
    """The resolved config as YAML; `parse_config` gives the same config back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a config file, with every option's documentation, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()


def changed_keys(old: Config, new: Config) -> list[str]:
    """The dotted keys (`model.d_model`) in which two configs differ."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    return [
        f"{section}.{key}"
        for section, options in after.items()
        for key, value in options.items()
        if before[section][key] != value
    ]


def _read_yaml(text: str, name: str) -> tuple[dict[str, Any], dict[Key, int]]:
    """Parse safely, and note each key's line: `{("model", "d_model"): 12}`."""
    loader = yaml.SafeLoader(text)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                line = (event.start_mark.line if event.start_mark else 0) + 1
                raise UserError(f"{name}:{line}: anchors and aliases are not accepted; write the value out")
        root = loader.get_single_node()
        lines: dict[Key, int] = {}
        tree = {} if root is None else _construct(loader, root, (), lines, name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = name if mark is None else f"{name}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where}: not valid YAML: {problem}") from None
    except (RecursionError, ValueError) as error:  # deep nesting; a date such as 2026-99-99
        raise UserError(f"{name}: not a config: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(tree, dict):
        raise UserError(f"{name}: a config is a mapping of sections ({', '.join(Config.model_fields)})")
    return tree, lines


def _construct(loader: yaml.SafeLoader, node: yaml.Node, key: Key, lines: dict[Key, int], name: str) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(key, line)
    if len(key) > MAX_DEPTH:
        raise UserError(f"{name}:{line}: nested more than {MAX_DEPTH} deep; this is no config")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            child = str(loader.construct_object(key_node, deep=True))
            if child in result:
                raise UserError(f"{name}:{key_node.start_mark.line + 1}: {child} stands twice; remove one")
            lines[(*key, child)] = key_node.start_mark.line + 1
            result[child] = _construct(loader, value_node, (*key, child), lines, name)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, child, (*key, index), lines, name) for index, child in enumerate(node.value)]
    return loader.construct_object(node, deep=True)


def _with_overrides(tree: dict[str, Any], origins: dict[Key, str], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        match = _OVERRIDE.match(override)
        if match is None:
            sections = ", ".join(Config.model_fields)
            raise UserError(f"{override}: an override reads section.key=value, with a section of {sections}")
        path = [match[1], *match[2].removeprefix(".").split(".")]
        try:
            value = yaml.safe_load(match[3])
        except (yaml.YAMLError, ValueError, RecursionError):
            value = match[3]
        branch: Any = tree
        for step in path[:-1]:
            branch = branch.setdefault(step, {}) if isinstance(branch, dict) else None
        if not isinstance(branch, dict):
            raise UserError(f"{override}: {'.'.join(path[:-1])} holds no options; give the whole value of it")
        branch[path[-1]] = value
        origins[tuple(path)] = f"command line: {override}"
    return tree


def _validate(tree: dict[str, Any], origins: dict[Key, str], name: str) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(_explain(first, origins, name)) from None


def _explain(error: Any, origins: dict[Key, str], name: str) -> str:
    """One line for a pydantic error: where it stands, the key, the value, what is wanted."""
    location: Key = tuple(error["loc"])
    known = max((key for key in origins if key == location[: len(key)]), key=len, default=())
    where = origins.get(known, name)
    dotted = ".".join(map(str, location)) or "config"
    if error["type"] == "extra_forbidden":
        valid = _valid_names(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"valid here: {', '.join(valid)}"
        return f"{where}: {dotted}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{where}: {dotted}: missing; this option must be given"
    message = error["msg"].removeprefix("Value error, ")
    value = error["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" (it is {value!r})"
    return f"{where}: {dotted}: {message[0].lower()}{message[1:]}{shown}"


def _valid_names(location: Key) -> list[str]:
    """The option names of the section at a location, through lists of corpora too."""
    from transformer.config.schema import CorpusSection

    section: Any = Config
    for step in location:
        if isinstance(step, int):
            section = CorpusSection
        elif section is not CorpusSection:
            section = section.model_fields[step].annotation
            if not isinstance(section, type):
                section = CorpusSection
    return list(section.model_fields)
