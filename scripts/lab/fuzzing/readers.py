"""The readers under test: how the package uses each kind of file, and the odd files to try."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from fuzzing.inputs import (
    ODD_VALUES,
    Input,
    Valid,
    damaged,
    odd_gzip,
    odd_json,
    odd_lines,
    odd_message,
    odd_records,
    odd_tensors,
    odd_yaml,
)
from fuzzing.material import UPDATE, Material
from transformer.config import CorpusSection, dump_config, load_config, parse_config
from transformer.data.corpus import read_lines, read_pairs
from transformer.data.dataset import EncodedCorpus
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.speed.shortlist import SHORTLIST_FILE, read_shortlist
from transformer.decoding.translator import Translation
from transformer.evaluation.alignment import parse_gold
from transformer.report.card_text import card_text
from transformer.report.page import render_page
from transformer.run.calibration import CONFIDENCE_FILE, read_calibration
from transformer.run.run import Run
from transformer.run.state import TrainingState, load_model_tensors, restore_optimizer
from transformer.run.store import MODEL_FILE, OPTIMIZER_FILE, STATE_FILE, read_checkpoint
from transformer.runtime.records import JsonLines
from transformer.tasks.report import reported_runs
from transformer.tasks.run_card import run_card
from transformer.training.optimizer import build_optimizer

_TEXT = ["der Hund ﬁ ＡＢ ½", "", "▁<s><0x41>", "".join(map(chr, range(32, 2000))), "😀好" * 50]
_FIELDS: dict[str, tuple[str | int, str | int]] = {
    "corpus.tsv": (1, 2),
    "corpus.jsonl": ("translation.de", "translation.en"),
}


@dataclass(frozen=True)
class Reader:
    """A reader and its inputs.

    Attributes:
        inputs: odd files.
        read: reads an input, and uses the result as the package would.
        share: share of all inputs; slow readers get fewer.
    """

    inputs: st.SearchStrategy[Input]
    read: Callable[[Input], None]
    share: float


def make_readers(material: Material, folder: Path) -> dict[str, Reader]:
    """All readers; they write the odd files into `folder`."""
    files = material.files
    of = functools.partial(_of_kind, files)
    config = st.one_of(of("config.yaml", odd_yaml), of("config.yaml", odd_yaml), _overrides())
    checkpoint = st.one_of(
        *(of(name, odd_tensors) for name in (MODEL_FILE, OPTIMIZER_FILE, SHORTLIST_FILE)),
        *(of(name, odd_json) for name in (STATE_FILE, STATE_FILE, CONFIDENCE_FILE)),
        *(of("metrics.jsonl", odd_records), of("best", odd_lines)),
    )
    # a model without normalisation rules is a hundredth of the size, and faster to make
    tokenizer = st.one_of(of("shared.model", odd_message), *[of("identity.model", odd_message)] * 4)
    gzipped = functools.partial(odd_gzip, plain=odd_lines)
    corpus = st.one_of(
        *(of(name, odd_lines) for name in ("text", "corpus.tsv", "gold.align")),
        *(of(name, gzipped) for name in ("text.gz", "corpus.tsv.gz")),
        *(of("corpus.jsonl", odd_records), of("train.arrow", damaged)),
    )
    report = st.one_of(of("evaluation.json", odd_json), of("manifest.json", odd_json), of("metrics.jsonl", odd_records))
    return {
        "config": Reader(config, functools.partial(_read_config, material, folder), 0.15),
        "run": Reader(of("config.yaml", odd_yaml), functools.partial(_read_run, material), 0.01),
        "checkpoint": Reader(checkpoint, functools.partial(_read_checkpoint, material), 0.2),
        "tokenizer": Reader(tokenizer, _read_tokenizer, 0.15),
        "corpus": Reader(corpus, functools.partial(_read_corpus, material, folder), 0.46),
        "parquet": Reader(of("corpus.parquet", damaged), functools.partial(_read_parquet, folder), 0.02),
        "report": Reader(report, functools.partial(_read_report, material), 0.01),
    }


def _of_kind(
    files: dict[str, bytes], kind: str, strategy: Callable[[Valid], st.SearchStrategy[bytes]]
) -> st.SearchStrategy[Input]:
    return strategy(Valid(files[kind])).map(lambda content: Input(kind, content))


def _overrides() -> st.SearchStrategy[Input]:
    keys = st.sampled_from(
        ["model.d_model", "data.train", "run.directory", "model", "decoding.betas.0", "x.y", "a" * 99]
    )
    values = st.sampled_from(ODD_VALUES).map(repr) | st.text(max_size=20) | st.text("[]{}&*!:,'\" -", max_size=12)
    return st.builds(lambda key, value: Input("override", f"{key}={value}".encode("utf-8", "replace")), keys, values)


def _read_config(material: Material, folder: Path, odd: Input) -> None:
    if odd.kind == "override":
        load_config(material.run.path, [odd.content.decode()])
        return
    (folder / "odd.yaml").write_bytes(odd.content)
    config = load_config(folder / "odd.yaml")
    assert parse_config(dump_config(config), "dumped") == config


def _read_run(material: Material, odd: Input) -> None:
    material.run.config.write_bytes(odd.content)
    try:
        Run(material.run.path).load_model()
    finally:
        material.run.config.write_bytes(material.files["config.yaml"])


def _read_checkpoint(material: Material, odd: Input) -> None:
    """Put the file into the run, with correct checksums, since an attacker can compute them too."""
    run, size = material.run, material.tokenizer.vocab_size
    checkpoint = run.checkpoint(UPDATE)
    path = next(folder / odd.kind for folder in (run.path, checkpoint) if (folder / odd.kind).exists())
    before = path.read_bytes()
    state_before = (checkpoint / STATE_FILE).read_bytes()
    path.write_bytes(odd.content)
    try:
        if odd.kind == SHORTLIST_FILE:
            read_shortlist(run.path, size, size)
        elif odd.kind == CONFIDENCE_FILE:
            read_calibration(run.path, "a" * 64).confidences([Translation("x", -3.0, -3.0, [7, 8])])
        elif odd.kind == "metrics.jsonl":
            JsonLines(path).forget_after(5)
        elif odd.kind == "best":
            run.resolve("best")
        else:
            _forge(checkpoint, odd.kind)
            _resume(material, checkpoint)
    finally:
        path.write_bytes(before)
        (checkpoint / STATE_FILE).write_bytes(state_before)


def _read_report(material: Material, odd: Input) -> None:
    """Make the card and the page of a run."""
    run = material.run
    path = next(folder / odd.kind for folder in (run.path, run.evaluations) if (folder / odd.kind).exists())
    before = path.read_bytes()
    path.write_bytes(odd.content)
    try:
        opened = Run(run.path)
        card_text(run_card(opened))
        runs = reported_runs([opened], ["run"], None)
        render_page(runs, 3, "0").encode("utf-8", "replace")
    finally:
        path.write_bytes(before)


def _resume(material: Material, directory: Path) -> None:
    """Resume training from a checkpoint."""
    shapes = {name: tuple(parameter.shape) for name, parameter in material.model.named_parameters()}
    checkpoint = read_checkpoint(directory, with_optimizer=True, shapes=shapes)
    load_model_tensors(material.model, checkpoint.model, directory)
    optimizer = build_optimizer(material.model, material.config.training)
    restore_optimizer(material.model, optimizer, checkpoint)
    TrainingState.from_json(checkpoint.state, directory)
    for parameter in material.model.parameters():
        parameter.grad = parameter.detach().clone()
    optimizer.step()


def _forge(directory: Path, kind: str) -> None:
    """Correct the checksums in `state.json` of the other files and of itself."""
    path = directory / STATE_FILE
    try:
        payload = json.loads(path.read_bytes())
        if kind != STATE_FILE:
            payload["files"][kind] = hashlib.sha256((directory / kind).read_bytes()).hexdigest()
        content = {key: value for key, value in payload.items() if key != "sha256"}
        payload["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(payload))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return  # not a JSON object, so it has no checksums


def _read_tokenizer(odd: Input) -> None:
    tokenizer = Tokenizer(odd.content, "shared.model")
    ids = tokenizer.encode(_TEXT)
    everything = list(range(tokenizer.vocab_size))
    for lines in (ids, [everything], [everything[::-1]]):
        tokenizer.decode(lines)
        for line in lines:
            tokenizer.pieces(line)


def _read_corpus(material: Material, folder: Path, odd: Input) -> None:
    path = folder / odd.kind
    path.write_bytes(odd.content)
    if odd.kind == "gold.align":
        _read_gold(path)
        return
    if odd.kind == "train.arrow":
        corpus = EncodedCorpus(path)
        corpus.sources(range(len(corpus)))
        corpus.targets(range(len(corpus)))
        return
    fields = _FIELDS.get(odd.kind.removesuffix(".gz"))
    if fields is None:
        section = CorpusSection(source=str(path), target=str(path))
    else:
        section = CorpusSection(table=str(path), source_field=fields[0], target_field=fields[1])
    pairs = list(read_pairs([section]))[:1000]
    for side in zip(*pairs, strict=True):
        material.tokenizer.decode(material.tokenizer.encode(side))


def _read_gold(path: Path) -> None:
    for line in read_lines(path):
        try:
            parse_gold(line)
        except ValueError:
            return  # `transformer align` names the line


def _read_parquet(folder: Path, odd: Input) -> None:
    path = folder / odd.kind
    path.write_bytes(odd.content)
    section = CorpusSection(table=str(path), source_field="translation.de", target_field="translation.en")
    list(read_pairs([section]))
