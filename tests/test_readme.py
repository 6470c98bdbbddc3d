"""The README names nothing that does not exist, and its commands run."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from pathlib import Path

import pytest

from transformer.cli import VERBS, main
from transformer.config import Config, load_config, override_config, parse_config
from transformer.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("configs", "docs", "scripts", "tests", "transformer", ".ci")
# What makes a config of the README small enough for the generated corpus and a second.
SMALL = "tokenizer.vocab_size=305 model.d_model=32 model.d_ff=64 model.num_encoder_layers=1 model.num_decoder_layers=1"
SHORT = "training.max_updates=2 validation.every=2 training.schedule=constant run.threads=1 run.device=cpu"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def commands(text: str) -> list[str]:
    """The command lines of the bash blocks, without comments and empty lines."""
    lines = [re.sub(r"(^|\s+)# .*$", "", line) for block in blocks(text, "bash") for line in block.splitlines()]
    return [line for line in lines if line.strip()]


def code(text: str) -> list[str]:
    """Everything set as code: command lines, and the spans inside the text."""
    return commands(text) + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def problems(text: str) -> list[str]:
    """Verbs, targets, files and options that the text names and the project does not have."""
    found = [f"unknown verb: {verb}" for verb in named_verbs(text) if verb not in VERBS]
    found += [f"unknown target: {target}" for target in named_targets(text) if target not in targets()]
    found += [f"no such file: {name}" for name in named_files(text) if not file_exists(name)]
    for option in named_options(text):
        section, key = option.split(".")
        known = key in Config.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        module = (ROOT / "transformer" / section / f"{key}.py").is_file()
        found += [] if known or module or key == "safetensors" else [f"unknown option: {option}"]
    return found + [problem for together in overrides(text) for problem in wrong_value(together)]


def named_verbs(text: str) -> list[str]:
    return [
        verb for line in code(text) for verb in re.findall(r"(?:^|[\s/])transformer ([\w-]+)", line) if verb[0] != "-"
    ]


def named_targets(text: str) -> list[str]:
    return [target for line in code(text) for target in re.findall(r"^make ([a-z-]+)", line)]


def targets() -> list[str]:
    return re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def named_files(text: str) -> list[str]:
    """Paths inside the project's own folders, names of Python files, and targets of links."""
    folders = "|".join(map(re.escape, FOLDERS))
    inside = [name for line in code(text) for name in re.findall(rf"(?:^|[\s=(])((?:{folders})/[\w./-]*)", line)]
    bare = [name for line in code(text) for name in re.findall(r"^(\w+\.py)$", line)]
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    return inside + bare + links


def file_exists(name: str) -> bool:
    if "/" in name or not name.endswith(".py"):
        return (ROOT / name).exists()
    return any(path.is_file() for folder in FOLDERS for path in (ROOT / folder).rglob(name))


def named_options(text: str) -> list[str]:
    sections = "|".join(Config.model_fields)
    return [option for line in code(text) for option in re.findall(rf"(?<![\w/.])((?:{sections})\.[a-z_]+)\b", line)]


def overrides(text: str) -> list[list[str]]:
    """`section.key=value`, where a value is given; those that stand together."""
    sections = "|".join(Config.model_fields)
    found = [re.findall(rf"(?<![\w/.])((?:{sections})\.[a-z_]+=[^\s`]+)", line) for line in code(text)]
    kept = ([each for each in together if "…" not in each and "..." not in each] for together in found)
    return [together for together in kept if together]


def wrong_value(together: list[str]) -> list[str]:
    try:
        override_config(load_config(ROOT / "configs" / "demo.yaml"), together)
    except UserError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_everything_named_exists(page: str) -> None:
    assert problems((ROOT / page).read_text("utf-8")) == []


def test_every_verb_and_every_config_is_named() -> None:
    assert set(VERBS) <= set(named_verbs(README))
    assert {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= set(named_files(README))


def test_every_room_stands_in_the_map() -> None:
    rooms = {path.parent.name for path in (ROOT / "transformer").glob("*/__init__.py")}
    assert {f"transformer/{room}/" for room in rooms} <= set(named_files(README))


def test_the_configs_shown_are_configs() -> None:
    assert blocks(README, "yaml")
    for block in blocks(README, "yaml"):
        parse_config(block, "README.md")


@pytest.fixture
def workplace(tiny_run: Path, tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the README's paths are: trained runs, corpora and the reader's own config."""
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    shutil.copytree(tiny_run, tmp_path / "runs" / "mine")
    for folder in (tmp_path / "my", tmp_path / "data" / "tatoeba-zh-en"):
        folder.mkdir(parents=True)
        for split in ("train", "validation", "test"):
            for side, names in (("de", ("en", "zh")), ("en", ("de",))):
                for name in names:
                    shutil.copy(tiny_project / f"{split}.{side}", folder / f"{split}.{name}")
    (tmp_path / "my.yaml").write_text(blocks(README, "yaml")[0], "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", commands(README))
def test_a_command_runs(
    line: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if piped := re.fullmatch(r"cat (\S+) \| (.*)", line):
        content = Path(piped[1]).read_bytes()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
        line = piped[2]
    program, *arguments = shlex.split(line.replace("$SLURM_ARRAY_TASK_ID", "1"))
    if Path(program).name != "transformer":
        pytest.skip(f"{program} installs, downloads or takes minutes: run by hand, its names are checked above")
    if arguments[0] == "train":
        arguments += ["run.directory=runs/new", *SMALL.split(), *SHORT.split()]
    if arguments[0] == "prepare":
        arguments += SMALL.split()
    assert main(arguments) == 0, capsys.readouterr().err
    if arguments[0] == "train":
        assert (workplace / "runs" / "new" / "last").is_file()
    elif "--output-directory" in arguments:
        assert list((workplace / "out").iterdir())
    else:
        assert capsys.readouterr().out


def test_the_python_example_runs(workplace: Path) -> None:
    example = "\n".join(blocks(README, "python"))
    assert "load(" in example
    compiled = compile(example, "README.md", "exec")
    exec(compiled, {})  # noqa: S102 - the project's own text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```bash\ntransformer trian x.yaml\n```\n", "unknown verb: trian"),
        ("run `.venv/bin/transformer serve RUN`", "unknown verb: serve"),
        ("`make tset`", "unknown target: tset"),
        ("`python scripts/evalute.py RUN`", "no such file: scripts/evalute.py"),
        ("see `configs/big.yaml`", "no such file: configs/big.yaml"),
        ("see [there](docs/nothing.md)", "no such file: docs/nothing.md"),
        ("`decodder.py`", "no such file: decodder.py"),
        ("`training.max_update`", "unknown option: training.max_update"),
        ("`training.dropout=0.3`", "unknown option: training.dropout"),
        ("`model.dropout=3`", "less than 1"),
    ],
)
def test_the_check_sees_what_is_wrong(text: str, problem: str) -> None:
    assert any(problem in found for found in problems(text))


def test_the_check_lets_what_is_right_pass() -> None:
    text = (
        "`transformer train configs/demo.yaml model.dropout=0.3`, `make test`, `model.build`, [a](LICENSE), `cache.py`"
    )
    assert problems(text + ", `training.max_updates=…`, `run.directory`, `python scripts/evaluate.py RUN`") == []
