"""README.md and docs/: links lead somewhere, everything named exists, and the commands and examples run."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from transformer.cli import VERBS, main
from transformer.config import Config, dump_config, load_config, parse_config
from transformer.config.plan import load_plan

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
INDEX = ROOT / "docs" / "README.md"
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
LOG = ROOT / "docs" / "log"  # names options that have been removed since
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = ("configs", "docs", "scripts", "tests", "transformer", ".ci")
# What makes the README's config small enough for the generated corpus and a second.
SMALL = "tokenizer.vocab_size=305 model.d_model=32 model.d_ff=64 model.num_encoder_layers=1 model.num_decoder_layers=1"
SHORT = "training.max_updates=2 validation.every=2 training.schedule=constant run.threads=1 run.device=cpu"
BY_HAND = "doctor|stages"  # verbs that train for longer than a test should, and have tests of their own
VARIABLES = {"$SLURM_ARRAY_TASK_ID": "1", "$seed": "1"}
OUTPUT_FILES = {"--output", "--output-directory", "--json", "--png"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def each(pages: list[Path]) -> pytest.MarkDecorator:
    """Run a test for every page."""
    return pytest.mark.parametrize("page", pages, ids=name_of)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def commands(text: str) -> list[str]:
    """The command lines of the bash blocks."""
    return [line for block in blocks(text, "bash") for line in command_lines(block)]


def command_lines(block: str) -> list[str]:
    """The lines of a block without comments and empty lines; continued lines are joined."""
    lines = [re.sub(r"(^|\s+)#.*$", "", line).strip() for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


def code(text: str) -> list[str]:
    """Everything set as code: command lines, and the spans inside the text."""
    return commands(text) + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def problems(text: str, folder: Path = ROOT, past: bool = False) -> list[str]:
    """Verbs, targets, files and options that a page in a folder names and the project does not have; a page about the
    past may name verbs, targets and options that are gone."""
    found = [f"no such file: {name}" for name in named_files(text) if not file_exists(name)]
    found += [f"dead link: {link}" for link in links(text) if not leads_somewhere(link, text, folder)]
    if past:
        return found
    found += [f"unknown verb: {verb}" for verb in named_verbs(text) if verb not in {*VERBS, "VERB"}]
    found += [f"unknown target: {target}" for target in named_targets(text) if target not in targets()]
    for option in named_options(text):
        section, key = option.split(".")
        known = key in Config.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        module = (ROOT / "transformer" / section / f"{key}.py").is_file()
        found += [] if known or module or key == "safetensors" else [f"unknown option: {option}"]
    return found + wrong_values(text)


def named_verbs(text: str) -> list[str]:
    return [
        verb for line in code(text) for verb in re.findall(r"(?:^|[\s/])transformer ([\w-]+)", line) if verb[0] != "-"
    ]


def named_targets(text: str) -> list[str]:
    return [target for line in code(text) for target in re.findall(r"^make ([a-z-]+)", line)]


def targets() -> list[str]:
    return re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def named_files(text: str) -> list[str]:
    """Paths inside the project's own folders, and names of Python files."""
    folders = "|".join(map(re.escape, FOLDERS))
    inside = [name for line in code(text) for name in re.findall(rf"(?:^|[\s=(])((?:{folders})/[\w./-]*)", line)]
    return inside + [name for line in code(text) for name in re.findall(r"^(\w+\.py)$", line)]


def file_exists(name: str) -> bool:
    if "/" in name or not name.endswith(".py"):
        return (ROOT / name).exists()
    return any(path.is_file() for folder in FOLDERS for path in (ROOT / folder).rglob(name))


def links(text: str) -> list[str]:
    """Targets of the links and pictures that lead to the project's own files."""
    return [link for link in LINK.findall(FENCE.sub("", text)) if "://" not in link]


def leads_somewhere(link: str, text: str, folder: Path) -> bool:
    """Whether the file of a link exists, and the heading in it where the link names one."""
    name, _, anchor = link.partition("#")
    target = folder / name
    if not target.exists():
        return False
    return not anchor or anchor in headings(target.read_text("utf-8") if name else text)


def headings(text: str) -> set[str]:
    """The headings of a page as GitHub names them in links."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def named_options(text: str) -> list[str]:
    sections = "|".join(Config.model_fields)
    return [option for line in code(text) for option in re.findall(rf"(?<![\w/.])((?:{sections})\.[a-z_]+)\b", line)]


def wrong_values(text: str) -> list[str]:
    """Values that an option cannot have by itself; whether options go together shows where commands are run."""
    sections = "|".join(Config.model_fields)
    found = [
        given for line in code(text) for given in re.findall(rf"(?<![\w/.])((?:{sections})\.[a-z_]+=[^\s`']+)", line)
    ]
    wrong = []
    placeholder = re.compile(r"…|\.\.\.|\$|=[A-Z]+$")
    for option, value in (given.split("=", 1) for given in found if not placeholder.search(given)):
        section, key = option.split(".")
        field = Config.model_fields[section].annotation.model_fields.get(key)  # type: ignore[union-attr]
        if field is None:
            continue  # an unknown option
        try:
            TypeAdapter(Annotated[field.annotation, field]).validate_python(yaml.safe_load(value.rstrip('")')))
        except ValidationError as error:
            wrong.append(f"{option}={value}: {error.errors()[0]['msg']}")
    return wrong


def reached_from(start: Path) -> set[Path]:
    """The files that a page links to, directly or through other pages."""
    found, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        linked = {(page.parent / link.partition("#")[0]).resolve() for link in links(page.read_text("utf-8"))}
        waiting += [target for target in linked - found if target.suffix == ".md"]
        found |= linked
    return found


@each(PAGES)
def test_everything_named_exists(page: Path) -> None:
    assert problems(page.read_text("utf-8"), page.parent, past=page.parent == LOG) == []


def test_every_page_and_every_picture_is_reached_from_the_index() -> None:
    assert {path for path in (ROOT / "docs").rglob("*") if path.is_file()} <= reached_from(INDEX)
    assert INDEX in reached_from(README)


def test_pages_that_the_project_names_exist() -> None:
    searched = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path != Path(__file__)]
    searched += [path for path in ROOT.iterdir() if path.suffix == ".md" or path.name in {"Makefile", "pyproject.toml"}]
    texts = {
        path: path.read_text("utf-8")
        for path in searched
        if path.suffix in {".py", ".yaml", ".json", ".md", ""} and path.is_file() and "__pycache__" not in path.parts
    }
    named = {(name_of(path), name) for path, text in texts.items() for name in re.findall(r"\bdocs/[\w./-]+\w", text)}
    assert len(named) > 20
    assert [f"{path} names {name}" for path, name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_verb_and_every_config_is_named() -> None:
    text = "\n".join(page.read_text("utf-8") for page in [README, *GUIDE])
    assert set(VERBS) <= set(named_verbs(text))
    assert {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= set(named_files(text))


def test_every_room_stands_in_the_map() -> None:
    rooms = {path.parent.name for path in (ROOT / "transformer").glob("*/__init__.py")}
    assert {f"transformer/{room}/" for room in rooms} <= set(named_files(README.read_text("utf-8")))


def test_the_config_of_the_readme_is_a_config() -> None:
    parse_config(blocks(README.read_text("utf-8"), "yaml")[0], "README.md")


@each(GUIDE)
def test_the_configs_and_plans_shown_are_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(page.read_text("utf-8"), "yaml"):
        tree = next(iter(yaml.safe_load_all(block)))
        if "stages" in tree:
            (tmp_path / "plan.yaml").write_text(block, "utf-8")
            load_plan(tmp_path / "plan.yaml")
        elif set(tree) <= set(Config.model_fields):
            demo = yaml.safe_load(dump_config(load_config(ROOT / "configs" / "demo.yaml")))
            parse_config(
                yaml.safe_dump({section: demo[section] | tree.get(section, {}) for section in demo}), page.name
            )
        else:
            assert {"apiVersion", "kind"} <= set(tree), "neither a config, nor a plan, nor a manifest of Kubernetes"


@pytest.fixture
def workplace(tiny_run: Path, tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the paths of the pages are: trained runs, corpora and the reader's own config, which is small."""
    for name in ("demo", "mine", "mine_1", "mine_2", "reverse"):
        shutil.copytree(tiny_run, tmp_path / "runs" / name)
    config = tmp_path / "runs" / "reverse" / "config.yaml"
    swapped = {"source_language: de": "source_language: en", "target_language: en": "target_language: de"}
    config.write_text(re.sub("|".join(swapped), lambda found: swapped[found[0]], config.read_text("utf-8")), "utf-8")
    for folder in (tmp_path / "my", tmp_path / "data" / "tatoeba-zh-en"):
        folder.mkdir(parents=True)
        for split in ("train", "validation", "test"):
            for side, names in (("de", ("en", "zh")), ("en", ("de",))):
                for name in names:
                    shutil.copy(tiny_project / f"{split}.{side}", folder / f"{split}.{name}")
    own = parse_config(blocks(README.read_text("utf-8"), "yaml")[0], "README.md", [*SMALL.split(), *SHORT.split()])
    (tmp_path / "my.yaml").write_text(dump_config(own), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runnable(block: str) -> list[str]:
    """The lines of a bash block that run `transformer` on small files; the others download, or train for minutes."""
    lines = [line for line in command_lines(block) if re.match(r"((cat|printf) .* \| )?\S*\btransformer ", line)]
    return [line for line in lines if "configs/" not in line and not re.search(rf"transformer ({BY_HAND})\b", line)]


def feed(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a command what is piped into it; returns the command alone."""
    if piped := re.fullmatch(r"cat (\S+) \| (.*)", line):
        content = Path(piped[1]).read_bytes()
    elif piped := re.fullmatch(r"printf '([^']*)' \| (.*)", line):
        content = piped[1].replace("\\t", "\t").replace("\\n", "\n").encode()
    else:
        return line
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
    return piped[2]


def begin_anew(workplace: Path, example: str) -> None:
    """Where an example trains the reader's config, its runs are not there yet."""
    if re.search(r"train(\(\"| )my\.yaml", example):
        for run in (workplace / "runs").glob("mine*"):
            shutil.rmtree(run)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{page.stem}: {runnable(block)[0]}")
        for page in [README, *GUIDE]
        for block in blocks(page.read_text("utf-8"), "bash")
        if runnable(block)
    ],
)
def test_the_commands_of_a_block_run(
    block: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_anew(workplace, block)
    for line in runnable(block):
        for variable, value in VARIABLES.items():
            line = line.replace(variable, value)
        _, *arguments = shlex.split(feed(line, monkeypatch))
        assert main(arguments) == 0, capsys.readouterr().err
        files = [Path(arguments[place + 1]) for place, word in enumerate(arguments) if word in OUTPUT_FILES]
        assert all(path.exists() for path in files)
        assert files or arguments[0] in {"prepare", "train"} or capsys.readouterr().out


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=name_of(page))
        for page in [README, *GUIDE]
        if (example := "\n".join(blocks(page.read_text("utf-8"), "python")))
    ],
)
def test_the_python_examples_of_a_page_run(example: str, workplace: Path) -> None:
    begin_anew(workplace, example)
    exec(compile(example, "example", "exec"), {})  # noqa: S102 - the project's own text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```bash\ntransformer trian x.yaml\n```\n", "unknown verb: trian"),
        ("```bash\ntransformer train x.yaml \\\n    model.dropot=0.3\n```\n", "unknown option: model.dropot"),
        ("run `.venv/bin/transformer serve RUN`", "unknown verb: serve"),
        ("`make tset`", "unknown target: tset"),
        ("`python scripts/evalute.py RUN`", "no such file: scripts/evalute.py"),
        ("see `configs/big.yaml`", "no such file: configs/big.yaml"),
        ("see [there](docs/nothing.md)", "dead link: docs/nothing.md"),
        ("see ![it](docs/nothing.png)", "dead link: docs/nothing.png"),
        ("# A `b`: c\n[x](#a-b-c) [y](#a-b-d)", "dead link: #a-b-d"),
        ("[x](README.md#no-such-heading)", "dead link: README.md#no-such-heading"),
        ("`decodder.py`", "no such file: decodder.py"),
        ("`training.max_update`", "unknown option: training.max_update"),
        ("`training.dropout=0.3`", "unknown option: training.dropout"),
        ("`model.dropout=3`", "less than 1"),
    ],
)
def test_the_check_sees_what_is_wrong(text: str, problem: str) -> None:
    assert [found for found in problems(text) if problem in found]


def test_the_check_lets_what_is_right_pass() -> None:
    text = (
        "`transformer train configs/demo.yaml model.dropout=0.3`, `make test`, `model.build`, [a](LICENSE), `cache.py`"
    )
    text += (
        ", `training.max_updates=…`, `run.directory`, `python scripts/evaluate.py RUN`\n# A `b`: c, d\n[x](#a-b-c-d)"
    )
    assert problems(text) == []
    assert problems("`training.gone=1` and `transformer gone`", past=True) == []
