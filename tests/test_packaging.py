"""The distribution: its name, its command, what it needs, and what its archives hold."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import transformer
from release import build, content_differences, try_out, unreleased_changes
from transformer.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
REQUIREMENTS = [Requirement(line) for line in PROJECT["dependencies"]]
ALL_REQUIREMENTS = [*REQUIREMENTS, *itertools.chain.from_iterable(EXTRAS.values())]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
}
STRANGERS = re.compile(r"pip install [^`\n]*(?<![\w./-])transformer(?![\w-])")


def test_the_distribution_is_not_called_as_a_package_of_others() -> None:
    assert PROJECT["name"] == "transformer-mt"
    assert PROJECT["scripts"] == {"transformer": "transformer.__main__:main"}


def test_the_command_is_what_the_entry_point_names(capsys: pytest.CaptureFixture[str]) -> None:
    module, _, function = PROJECT["scripts"]["transformer"].partition(":")
    assert getattr(import_module(module), function) is main
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{transformer.__version__}\n"
    assert main(["nonsense"]) == 2
    assert "no such verb" in capsys.readouterr().err


def test_importing_the_entry_point_loads_no_command_line() -> None:
    program = "import sys, transformer.__main__; sys.exit('transformer.cli' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("command", ["-m transformer evaluate", "scripts/evaluate.py"])
def test_the_script_is_the_verb(command: str, tmp_path: Path) -> None:
    arguments = [*command.split(), str(tmp_path / "absent"), "--split", "test"]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: \S*absent: [^\n]+\n", done.stderr)


def test_extras_name_extras_that_exist() -> None:
    assert set(EXTRAS) == {"report", "moses", "browser", "dev"}
    own = [each for each in ALL_REQUIREMENTS if each.extras]
    assert [str(each) for each in own] == [f"{PROJECT['name']}[report]"]
    assert own[0].extras <= set(EXTRAS)


@pytest.mark.parametrize(
    "requirement", [each for each in ALL_REQUIREMENTS if each.name != PROJECT["name"]], ids=lambda each: each.name
)
def test_what_make_installs_lies_in_the_ranges(requirement: Requirement) -> None:
    pinned = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned), f"{requirement} and the pin {pinned}"


def imported_packages(path: Path) -> set[str]:
    """The first part of every absolute import in a file, wherever it stands."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}


def test_what_the_package_imports_is_what_it_requires() -> None:
    module_of = {"pyyaml": "yaml"}
    imported = set().union(*map(imported_packages, (ROOT / "transformer").rglob("*.py")))
    imported -= {
        *sys.stdlib_module_names,
        "transformer",
        "markupsafe",
        "pydantic_core",
    }  # jinja2 and pydantic require them
    required = {module_of.get(each.name, each.name) for each in REQUIREMENTS}
    assert required <= imported
    assert imported - required <= {each.name for each in EXTRAS["report"]}


def test_files_that_are_no_code_are_package_data() -> None:
    package = ROOT / "transformer"
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["transformer"]
    matched = {path for pattern in patterns for path in package.glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == {path for path in matched if path.suffix != ".py"}
    assert {"py.typed", "tiny.yaml", "page.html"} <= {path.name for path in matched}
    assert all(list(package.glob(pattern)) for pattern in patterns)


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "transformer").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_text_tells_to_install_a_package_of_others() -> None:
    patterns = "*.md", "docs/**/*.md", ".github/**/*.yml", "transformer/**/*.py"
    pages = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert len(pages) > 50
    assert [path.name for path in pages if STRANGERS.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("pip install transformer", True),
        ("`pip install 'transformer[report]'`", True),
        ("pip install --upgrade transformer==1", True),
        ("pip install transformer-mt", False),
        ("pip install 'transformer-mt[report]'", False),
        ("pip install transformers", False),
        ("pip install --constraint constraints.txt .` and transformer", False),
    ],
)
def test_the_check_sees_a_package_of_others(text: str, wrong: bool) -> None:
    assert bool(STRANGERS.search(text)) is wrong


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == transformer.__version__
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == transformer.__version__


def test_commits_run_the_pinned_checkers() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]  # nothing is fetched
    recipes = (ROOT / "Makefile").read_text("utf-8").replace("$(BIN)", ".venv/bin")
    for hook in hooks["repos"][0]["hooks"]:
        program = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert f"\t{program}" in recipes
        assert Path(program).name in PINS


def test_ci_is_one_script_on_three_systems() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    systems = [entry["os"].split("-")[0] for entry in job["strategy"]["matrix"]["include"]]
    assert systems == ["ubuntu", "macos", "windows"]


def test_a_bug_report_brings_what_doctor_prints() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml").read_text("utf-8"))
    (doctor,) = [field for field in form["body"] if field.get("id") == "doctor"]
    assert doctor["validations"] == {"required": True}
    assert "transformer doctor" in doctor["attributes"]["description"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two files, with a cache that no archive should hold."""
    folder = tmp_path / "transformer"
    (folder / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "py.typed", "__pycache__/x.pyc"):
        (folder / name).write_text("", "utf-8")
    return folder


@pytest.mark.parametrize(
    ("held", "differences"),
    [
        (["transformer/__init__.py", "transformer/py.typed", "x.dist-info/METADATA"], []),
        (["transformer/__init__.py"], ["lacks transformer/py.typed"]),
        (["transformer/__init__.py", "transformer/py.typed", "tests/x.py"], ["has tests/x.py too"]),
    ],
)
def test_a_wheel_is_compared_with_the_package(
    package: Path, tmp_path: Path, held: list[str], differences: list[str]
) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in held:
            archive.writestr(name, "")
    assert content_differences(wheel, package) == differences


def test_an_sdist_is_compared_with_the_package(package: Path, tmp_path: Path) -> None:
    sdist = tmp_path / "x.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(package / "__init__.py", "x-1/transformer/__init__.py")
        archive.add(package / "__init__.py", "x-1/README.md")  # an sdist may hold more
    assert content_differences(sdist, package) == ["lacks transformer/py.typed"]


@pytest.mark.parametrize(
    ("changelog", "lines"),
    [
        ("# Changelog\n\n## Unreleased\n\n- A.\n- B.\n\n## 0.1.0 (2026-11-23)\n\n- C.\n", 2),
        ("# Changelog\n\n## Unreleased\n\n## 0.1.0 (2026-11-23)\n\n- C.\n", 0),
        ("# Changelog\n\n## 0.1.0 (2026-11-23)\n\n- C.\n", 0),
    ],
)
def test_changes_without_a_version_are_counted(changelog: str, lines: int) -> None:
    assert unreleased_changes(changelog) == lines


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_built_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    sdist, wheel = build(tmp_path)
    assert content_differences(sdist) == content_differences(wheel) == []
    target, place = tmp_path / "target", tmp_path / "place"
    place.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True)
    where = [sys.executable, "-c", "import transformer; print(transformer.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(target)}
    found = subprocess.run(where, cwd=place, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == target / "transformer" / "__init__.py"
    steps = list(try_out([sys.executable, "-m", "transformer"], place, [target]))
    assert len(steps) == 8
