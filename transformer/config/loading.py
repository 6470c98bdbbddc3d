"""Read YAML and overrides into a `Config`; every refusal names file, line, key and the nearest valid name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from transformer.config.model_section import preset_options
from transformer.config.schema import Config
from transformer.config.section import Section
from transformer.errors import UserError
from transformer.reading import JsonObject, read_whole

CONFIG_FILE = "config.yaml"  # in a run directory
MAX_BYTES = 200_000  # a config is a page of text; more is a mistake or an attack
MAX_DEPTH = 16
_MAX_SHOWN = 200  # characters of a wrong value

Key = tuple[str | int, ...]
Origins = dict[Key, str]  # the file and line, or the override, that set each key
Sections = Mapping[str, Mapping[str, object]]  # {"decoding": {"beam_size": 1}}
Overrides = Sequence[str | Sections] | Sections  # strings read `section.key=value`
Kind = TypeVar("Kind", bound=Section)

# Options of earlier versions, and why they were removed. Configs of older runs still have them: those may hold any
# value, a new config only an empty one.
_REMOVED_OPTIONS: Mapping[tuple[str, str], str] = {
    ("training", "noise_scale_every"): "its figure, the gradient noise scale, never decided anything",
}

# in place of pydantic's messages that use terms of Python
_PLAIN_WORDS = {
    "model_type": "a section holds options, one `name: value` a line; give one or remove the section",
    "tuple_type": "needs a list",
    "too_short": "needs at least one entry",
    "string_type": "needs text; put it in quotes",
}


class _Loader(yaml.SafeLoader):
    """Reads plain words as YAML 1.2 does: `no` is Norwegian, 00012000 keeps its zeros, 1:30 and a date are text."""


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.inf|\.nan", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), _first)

_OVERRIDE = re.compile(r"^(" + "|".join(Config.model_fields) + r")((?:\.[A-Za-z_0-9]+)+)=(.*)$", re.DOTALL)


def is_override(argument: str) -> bool:
    """Whether a command-line argument reads `section.key=value` with an existing section."""
    return _OVERRIDE.match(argument) is not None


def overridden_sections(overrides: Overrides) -> list[tuple[str, str]]:
    """Each override as text, and its section."""
    return [(shown, path[0]) for shown, path, _ in _assignments(overrides)]


def as_config(config: Config | Sections | str | Path, overrides: Overrides = ()) -> Config:
    """A config from a `Config`, a mapping of sections, a file or a run directory; raises as `load_config`."""
    if isinstance(config, Config):
        return override_config(config, overrides)
    if isinstance(config, Mapping):
        tree: JsonObject = {}
        for _, (section, key), value in _section_assignments(config):
            tree.setdefault(section, {})[key] = value
        return _resolved(tree, {}, "config", overrides)
    return load_config(config, overrides)


def load_config(path: str | Path, overrides: Overrides = ()) -> Config:
    """Read a config file, or the config of a run directory, and apply overrides.

    Raises:
        UserError: a file is missing or unreadable, the YAML is bad, a key unknown or removed, or a value wrong.
    """
    path, of_run = Path(path), Path(path).is_dir()
    if of_run and not (path / CONFIG_FILE).is_file():
        raise UserError(f"{path}: this directory is no run (it holds no {CONFIG_FILE}); name a config file or a run")
    path = path / CONFIG_FILE if of_run else path
    return parse_config(_read_text(path, follow_link=not of_run), str(path), overrides, of_run)


def read_tree(path: Path) -> tuple[JsonObject, Origins]:
    """The content of a YAML file, and the place of each key.

    Raises:
        UserError: the file is missing or unreadable, or the YAML is bad.
    """
    return _read_yaml(_read_text(path, follow_link=True), str(path))


def _read_text(path: Path, follow_link: bool) -> str:
    try:
        return read_whole(path, MAX_BYTES, follow_link).decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file or run directory; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def parse_config(text: str, name: str, overrides: Overrides = (), of_run: bool = False) -> Config:
    """Build a `Config` from YAML text; raises as `load_config`.

    Args:
        name: stands for the file in messages.
        of_run: whether a run stored the text, perhaps with options that have been removed since.
    """
    tree, origins = _read_yaml(text, name)
    if of_run:
        _drop_removed(tree, origins, name, any_value=True)
    return _resolved(tree, origins, name, overrides)


def override_config(config: Config, overrides: Overrides) -> Config:
    """The same config with overrides applied; raises as `load_config`."""
    return _resolved(config.model_dump(mode="json"), {}, "config", overrides) if overrides else config


def _resolved(tree: JsonObject, origins: Origins, name: str, overrides: Overrides) -> Config:
    _override(tree, origins, overrides)
    _drop_removed(tree, origins, name)
    return validated(Config, tree, origins, name)


def dump_config(config: Config) -> str:
    """The resolved config as YAML; `parse_config` gives the same config back."""
    tree = config.model_dump(mode="json")
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    if any(mark in text for mark in "\x85\u2028\u2029"):  # line breaks to YAML; PyYAML writes them bare
        text = yaml.safe_dump(tree, sort_keys=False)
    return text


def config_schema() -> JsonObject:
    """The JSON Schema of config files for editors, with the documentation of every option."""
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


def _read_yaml(text: str, name: str) -> tuple[JsonObject, Origins]:
    """Parse safely, and note where each key stands: `{("model", "d_model"): "my.yaml:12"}`."""
    origins: Origins = {}
    try:
        _refuse_machinery(text, name)
        loader = _Loader(text)
        root = loader.get_single_node()
        tree = {} if root is None else _construct(loader, root, (), origins, name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = name if mark is None else f"{name}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where}: not valid YAML: {problem}") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{name}: not a config: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{name}: a config is a mapping of sections ({', '.join(Config.model_fields)})")
    return tree, origins


def _refuse_machinery(text: str, name: str) -> None:
    """Refuse YAML features that a page of options does not need, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = (event.start_mark.line if event.start_mark else 0) + 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError(f"{name}:{line}: nested more than {MAX_DEPTH} deep; this is no config")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{name}:{line}: anchors and aliases are not accepted; write the value out")
        if tag := getattr(event, "tag", None):
            raise UserError(f"{name}:{line}: the tag {tag} is not accepted; write the plain value")


def _construct(loader: yaml.SafeLoader, node: yaml.Node, key: Key, origins: Origins, name: str) -> object:
    origins.setdefault(key, f"{name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        result: JsonObject = {}
        for key_node, value_node in node.value:
            child = str(loader.construct_object(key_node, deep=True))
            place = f"{name}:{key_node.start_mark.line + 1}"
            if child in result:
                raise UserError(f"{place}: {child} stands twice; remove one")
            origins[(*key, child)] = place
            result[child] = _construct(loader, value_node, (*key, child), origins, name)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, child, (*key, index), origins, name) for index, child in enumerate(node.value)]
    return loader.construct_object(node, deep=True)


def _assignments(overrides: Overrides) -> Iterator[tuple[str, list[str], object]]:
    """Each override as text, the path of its key, and its value."""
    for override in [overrides] if isinstance(overrides, Mapping | str) else overrides:
        if isinstance(override, Mapping):
            yield from _section_assignments(override)
            continue
        if not isinstance(override, str):
            raise TypeError(f"override {override!r}: give a text section.key=value, or a mapping of sections")
        match = _OVERRIDE.match(override)
        if match is None:
            sections = ", ".join(Config.model_fields)
            raise UserError(f"{override}: an override reads section.key=value, with a section of {sections}")
        try:
            value = _Loader(match[3]).get_single_data()
        except (yaml.YAMLError, ValueError, RecursionError):
            value = match[3]
        yield override, [match[1], *match[2].removeprefix(".").split(".")], value


def _section_assignments(sections: Sections) -> Iterator[tuple[str, list[str], object]]:
    for section, options in sections.items():
        if not isinstance(options, Mapping):
            raise UserError(f"{section}={_shown(options)}: give a section's options as a mapping")
        for key, value in options.items():
            plain = _plain(value)
            yield f"{section}.{key}={_shown(plain)}", [section, str(key)], plain


def _plain(value: object) -> object:
    """A copy of a value as YAML would give it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _override(tree: JsonObject, origins: Origins, overrides: Overrides) -> None:
    # a preset overrides the file's options, but not those of other overrides
    for override, path, value in sorted(_assignments(overrides), key=lambda each: each[1] != ["model", "preset"]):
        branch: object = tree
        for step in path[:-1]:
            branch = branch.setdefault(step, {}) if isinstance(branch, dict) else None
        if not isinstance(branch, dict):
            raise UserError(f"{override}: {'.'.join(path[:-1])} holds no options; give the whole value of it")
        branch[path[-1]] = value
        if path == ["model", "preset"]:
            for name in preset_options(value):
                branch.pop(name, None)
        origins[tuple(path)] = f"override {override}"


def _drop_removed(tree: JsonObject, origins: Origins, name: str, any_value: bool = False) -> None:
    """Drop removed options from the tree; refuse one with a value unless `any_value`."""
    for (section, option), reason in _REMOVED_OPTIONS.items():
        options = tree.get(section)
        if not isinstance(options, dict) or option not in options:
            continue
        if options.pop(option) is not None and not any_value:
            where = origins.get((section, option), name)
            raise UserError(f"{where}: {section}.{option}: this option was removed, because {reason}; leave it out")


def validated(kind: type[Kind], tree: JsonObject, origins: Origins, name: str) -> Kind:
    """Validate a tree as a section; `name` stands for its file in messages.

    Raises:
        UserError: a key is unknown or a value wrong.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(_explain(kind, error.errors(include_url=False)[0], origins, name)) from None
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise UserError(f"{name}: a key holds {half}, half of a character; write the whole one") from None


def _explain(kind: type[Section], error: ErrorDetails, origins: Origins, name: str) -> str:
    """One line for a pydantic error: place, key, problem and value."""
    location = error["loc"]
    known = max((key for key in origins if key == location[: len(key)]), key=len, default=())
    where = origins.get(known, name)
    overridden = [o for key, o in origins.items() if key[: len(location)] == location and o.startswith("override ")]
    if overridden:  # the file's section may be right without the override
        where = overridden[-1]
    dotted = ".".join(map(str, location))
    place = f"{where}: {dotted}" if dotted else where  # a disagreement between sections has no key of its own
    if error["type"] == "extra_forbidden":
        section: type[Section] = kind
        for step in filter(lambda step: not isinstance(step, int), location[:-1]):  # through lists of sections too
            section = _section_in(section.model_fields[str(step)].annotation)
        valid = list(section.model_fields)
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"valid here: {', '.join(valid)}"
        return f"{place}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{place}: missing; this option must be given"
    message = _PLAIN_WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    value = error["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" (it is {_shown(value)})"
    return f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} …"


def _section_in(annotation: object) -> type[Section]:
    """The section that an annotation names, e.g. as the element of a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found: type[Section] = next(_section_in(part) for part in get_args(annotation) if part is not ...)
    return found
