"""The house rules, held by the syntax trees: which room may import which, sizes, depth, and what is never called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "transformer"
LEAVES = {"errors", "reading"}

# What a room may import of the package beside itself and the leaves: a room's name, or one module of it.
ROOMS: dict[str, set[str]] = {
    "config": set(),
    "runtime": set(),
    "evaluation": set(),
    "data": {"config", "runtime"},
    "model": set(),
    "run": {"config", "runtime", "model", "data.tokenizer"},
    "training": {"config", "runtime", "data", "model", "run"},
    "decoding": {"config", "runtime", "model", "data.tokenizer", "data.batching", "data.batch"},
    "report": {"config", "runtime", "evaluation", "run"},
    "tasks": {"", "config", "runtime", "evaluation", "data", "model", "run", "training", "decoding", "report"},
    "cli": {"", "config", "runtime", "tasks"},
    "": {"cli", "tasks", "config", "run", "decoding"},  # `__main__`, and the Python API, which is imported lazily
    "errors": set(),
    "reading": set(),
}
# Modules that may import more than their room.
MODULES: dict[str, set[str]] = {
    "model.build": {"config"},
}
# Rooms from which only some modules may be taken.
ENTRANCES: dict[tuple[str, str], set[str]] = {
    ("run", "model"): {"model.build", "model.transformer"},  # the second only for a type
}
# Packages that a room must not import, and those that are extras for the whole package.
FOREIGN: dict[str, set[str]] = {
    "model": {"torch.distributed", "sentencepiece", "datasets", "pydantic", "yaml"},
    "config": {"torch"},
    "evaluation": {"torch"},
    "report": {"torch"},
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "managers", "constants"}
# What runs code that a file brings along.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
UNSAFE_ATTRIBUTES = {
    *("torch.load", "torch.hub", "pandas.read_pickle", "builtins.eval", "builtins.exec", "importlib.util"),
    *(
        f"yaml.{name}"
        for name in ("load", "load_all", "unsafe_load", "full_load", "Loader", "UnsafeLoader", "FullLoader")
    ),
}
UNSAFE_KEYWORDS = {"trust_remote_code", "allow_pickle"}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_DEPTH = 400, 50, 3
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)

Found = list[str]


@cache
def sources(folder: str) -> dict[str, ast.Module]:
    """The syntax tree of each Python file below a folder, by its path from the root."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def module_name(path: str) -> str:
    """`transformer/model/build.py` -> `model.build`; a package's `__init__` is the package."""
    parts = Path(path).with_suffix("").parts[1:]
    return ".".join(part for part in parts if part not in ("__init__", "__main__"))


def imported_modules(path: str, tree: ast.Module) -> Iterator[str]:
    """Everything imported anywhere in a file, by full dotted name, relative imports resolved."""
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def within(module: str, allowed: set[str]) -> bool:
    """Whether a dotted name is one of some modules, or lies in one."""
    return any(module == name or module.startswith(f"{name}.") for name in allowed if name)


def forbidden_imports(path: str, tree: ast.Module) -> Found:
    """The imports of a file that the table does not allow."""
    own = module_name(path)
    room = own.split(".")[0]
    allowed = LEAVES | {room} | ROOMS.get(room, set()) | MODULES.get(own, set())
    found = []
    for name in imported_modules(path, tree):
        inside = name.removeprefix(PACKAGE).removeprefix(".")
        if not within(name, {PACKAGE}):
            wrong = within(name, FOREIGN.get(room, set()))
        elif inside.startswith("__"):  # the package's own facts, such as its version
            wrong = "" not in ROOMS.get(room, set()) | {room}
        else:
            entrances = ENTRANCES.get((room, inside.split(".")[0]))
            wrong = not within(inside, allowed) or (entrances is not None and not within(inside, entrances))
        if wrong:
            found.append(f"{path} imports {name}")
    return found


def too_large(path: str, tree: ast.Module, lines: int) -> Found:
    """A file, or functions of it, with too many lines."""
    found = [f"{path} has {lines} lines"] if lines > MAX_FILE_LINES else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            found += [f"{path}:{node.lineno} {node.name} has {length} lines"] if length > MAX_FUNCTION_LINES else []
    return found


def deep_blocks(path: str, node: ast.AST, depth: int = 0) -> Found:
    """Blocks nested too deep; `elif` stands beside its `if`, and a function begins anew."""
    found = [f"{path}:{node.lineno} is nested {depth} deep"] if depth > MAX_DEPTH and isinstance(node, ast.stmt) else []
    for child in ast.iter_child_nodes(node):
        elif_branch = isinstance(node, ast.If) and [child] == node.orelse and isinstance(child, ast.If)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found += deep_blocks(path, child)
        else:
            found += deep_blocks(path, child, depth + (isinstance(child, BLOCKS) and not elif_branch))
    return found


def vague_names(path: str, tree: ast.Module) -> Found:
    """Files, folders, functions and classes that could hold anything."""
    names = [part.removesuffix(".py") for part in Path(path).parts]
    names += [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [f"{path}: {name}" for name in names if VAGUE_NAMES & set(name.lower().split("_"))]


def dangerous_calls(path: str, tree: ast.Module) -> Found:
    """What could run code that a file brings along: pickles, eval, exec, unsafe YAML loaders, scripts from a hub."""
    found = [name for name in imported_modules(path, tree) if within(name, UNSAFE_MODULES)]
    found += [name for name in imported_modules(path, tree) if name in UNSAFE_ATTRIBUTES]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"eval", "exec", "compile"}
        ):
            found.append(node.func.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            dotted = f"{node.value.id}.{node.attr}"
            found += [dotted] if dotted in UNSAFE_ATTRIBUTES else []
        if isinstance(node, ast.keyword) and node.arg in UNSAFE_KEYWORDS:
            harmless = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if harmless else [f"{node.arg}="]
    return [f"{path}: {name}" for name in found]


def test_rooms_import_only_what_the_table_allows() -> None:
    files = sources(PACKAGE)
    assert [problem for path, tree in files.items() for problem in forbidden_imports(path, tree)] == []


def test_the_table_names_the_rooms_that_exist() -> None:
    assert {module_name(path).split(".")[0] for path in sources(PACKAGE)} == set(ROOMS)


def test_files_functions_and_nesting_stay_small() -> None:
    files = sources(PACKAGE)
    problems = []
    for path, tree in files.items():
        lines = len((ROOT / path).read_text("utf-8").splitlines())
        problems += [*too_large(path, tree, lines), *deep_blocks(path, tree)]
    assert problems == []


@pytest.mark.parametrize("folder", [PACKAGE, "scripts", "tests"])
def test_no_name_that_could_hold_anything(folder: str) -> None:
    assert [problem for path, tree in sources(folder).items() for problem in vague_names(path, tree)] == []


@pytest.mark.parametrize("folder", [PACKAGE, "scripts"])
def test_nothing_that_was_read_is_ever_executed(folder: str) -> None:
    assert [problem for path, tree in sources(folder).items() for problem in dangerous_calls(path, tree)] == []


def test_the_package_never_imports_the_scripts() -> None:
    scripts = {path.stem for path in (ROOT / "scripts").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert "get_corpus" in scripts
    imported = {name for path, tree in sources(PACKAGE).items() for name in imported_modules(path, tree)}
    assert [name for name in imported if within(name, scripts | {"scripts", "tests"})] == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["config", "schema"], ["nonsense"]])
def test_the_command_line_starts_without_torch(arguments: list[str]) -> None:
    program = (
        "import sys; from transformer.cli import main; main(sys.argv[1:]); "
        "heavy = {'torch', 'sentencepiece', 'datasets', 'pyarrow', 'sacrebleu', 'numpy'} & sys.modules.keys(); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("transformer/config/x.py", "from transformer.runtime import device"),
        ("transformer/data/x.py", "import transformer.model.masks"),
        ("transformer/data/x.py", "def f():\n    from ..training import loss"),
        ("transformer/data/x.py", "from transformer import cli"),
        ("transformer/model/masks.py", "from transformer.config import Config"),
        ("transformer/model/x.py", "import torch.distributed as dist"),
        ("transformer/model/x.py", "from torch import distributed"),
        ("transformer/run/x.py", "from transformer.model.masks import padding"),
        ("transformer/run/x.py", "from transformer.data.corpus import read_pairs"),
        ("transformer/decoding/x.py", "from transformer.data.dataset import EncodedCorpus"),
        ("transformer/training/x.py", "from transformer.decoding import translator"),
        ("transformer/training/x.py", "from transformer.evaluation.metrics import Score"),
        ("transformer/errors.py", "from transformer.config import Config"),
        ("transformer/garage/x.py", "from transformer.config import Config"),
        ("transformer/runtime/x.py", "from transformer import __version__"),
    ],
)
def test_the_check_sees_a_forbidden_import(path: str, line: str) -> None:
    assert forbidden_imports(path, ast.parse(line))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("transformer/model/build.py", "from transformer.config import ModelSection"),
        ("transformer/model/positions/x.py", "from ..masks import causal"),
        ("transformer/data/x.py", "from transformer.errors import UserError"),
        ("transformer/run/x.py", "from transformer.model.build import build_model"),
        ("transformer/__main__.py", "from transformer.cli import main"),
        ("transformer/cli/train.py", "from transformer import __version__"),
    ],
)
def test_the_check_lets_an_allowed_import_pass(path: str, line: str) -> None:
    assert forbidden_imports(path, ast.parse(line)) == []


def test_the_other_checks_see_what_they_look_for() -> None:
    deep = "def f():\n if a:\n  for b in c:\n   with d:\n    while e:\n     pass\n"
    flat = "def f():\n if a:\n  pass\n" + " elif b:\n  pass\n" * 4 + " else:\n  for x in y:\n   f()\n"
    assert len(deep_blocks("x.py", ast.parse(deep))) == 2  # the innermost loop and what it holds
    assert deep_blocks("x.py", ast.parse(flat)) == []
    assert too_large("x.py", ast.parse("def f():\n" + " pass\n" * 50), 51) == ["x.py:1 f has 51 lines"]
    assert too_large("x.py", ast.parse(""), 401) == ["x.py has 401 lines"]
    assert vague_names("transformer/data/batch_utils.py", ast.parse("class CacheManager: pass\ndef helper(): pass"))
    for line in ("torch.load(f)", "import pickle", "from torch import load", "eval('1')", "exec(s)", "yaml.load(f)"):
        assert dangerous_calls("x.py", ast.parse(line)), line
    for line in (
        "f(trust_remote_code=True)",
        "f(trust_remote_code=x)",
        "np.load(f, allow_pickle=True)",
        "yaml.full_load(f)",
    ):
        assert dangerous_calls("x.py", ast.parse(line)), line
    harmless = "model.eval()\nyaml.safe_load(f)\njson.load(f)\nnp.load(f, allow_pickle=False)\nre.compile(s)"
    assert dangerous_calls("x.py", ast.parse(harmless)) == []
