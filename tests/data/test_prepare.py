"""From raw text to a prepared folder: every pair accounted for, reused when nothing changed, whole or absent."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from transformer.config import Config
from transformer.data import prepare as prepare_module
from transformer.data.prepare import prepare
from transformer.data.prepared import Prepared, open_prepared
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.runtime.reporting import SilentReporter


class Listener(SilentReporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, text: str) -> None:
        self.said.append(text)


def run(config: Config) -> tuple[Prepared, list[str]]:
    listener = Listener()
    return prepare(config, listener), listener.said


def folders(config: Config) -> list[str]:
    directory = Path(config.data.prepared_directory)
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def refusal(config: Config) -> str:
    """The message; whatever stood prepared before stands there still, and nothing else."""
    before = folders(config)
    with pytest.raises(UserError) as caught:
        run(config)
    assert folders(config) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def corpus(source: Path, target: Path) -> dict[str, str]:
    return {"source": str(source), "target": str(target)}


def trained(said: list[str]) -> bool:
    return any(line.startswith("tokenizer: training") for line in said)


def test_the_encoded_corpora_decode_to_the_raw_text(make_config: Any, text: list[str]) -> None:
    prepared, said = run(make_config())
    assert prepared.source_tokenizer is prepared.target_tokenizer
    for split, expected in (("train", text), ("validation", text[:9])):
        ids = prepared.corpus(split)
        rows = range(len(ids))
        assert prepared.source_tokenizer.decode([row.tolist() for row in ids.sources(rows)]) == expected
        upper = [sentence.upper() for sentence in expected]
        assert prepared.target_tokenizer.decode([row.tolist() for row in ids.targets(rows)]) == upper
    assert said[0] == "tokenizer: training 340 unigram pieces on both languages"
    assert said[1].startswith("train: 300 of 300 pairs kept, ")
    assert said[3] == f"prepared data: {prepared.directory}"


def test_the_manifest_accounts_for_every_pair(make_config: Any, write_lines: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(prepare_module, "CHUNK_PAIRS", 4)  # several chunks, one of them without a pair that is kept
    word = "ba de fi go lu"
    pairs = [(word, word)] * 50 + [("", word), (word, ""), (" ", " "), ("", "")]
    pairs += [(word * 40, word), (word, word * 40), (word * 40, "")]  # the last counts as empty, not as too long
    pairs += [(word * 10, "ba"), ("ba", word * 10), ("ba", "ba de fi")]  # the last is too short for its ratio to matter
    sides = [write_lines(name, [pair[side] for pair in pairs]) for side, name in enumerate(("s", "t"))]
    changes = {"data": {"train": corpus(*sides), "max_length": 100}, "tokenizer": {"vocab_size": 275}}
    prepared, said = run(make_config(**changes))
    counts = prepared.manifest["counts"]["train"]
    assert (counts["read"], counts["kept"]) == (60, 51)
    assert counts["dropped"] == {"empty": 5, "too_long": 2, "ratio": 2}
    assert "train: 51 of 60 pairs kept (dropped: 5 empty, 2 too long, 2 ratio), " in said[1]
    ids = prepared.corpus("train")
    assert len(ids) == 51
    assert counts["source_tokens"] == ids.source_lengths.sum()
    assert counts["target_tokens"] == ids.target_lengths.sum()
    assert json.loads((prepared.directory / "manifest.json").read_text("utf-8")) == prepared.manifest


def test_limits_are_meant_inclusively_and_spare_the_validation_corpus(make_config: Any, text: list[str]) -> None:
    lengths = [len(ids) for ids in run(make_config())[0].corpus("validation").sources(range(9))]
    limit = sorted(lengths)[4]
    strict, _ = run(make_config(data={"max_length": limit, "max_length_ratio": 1000}))
    assert strict.corpus("validation").source_lengths.tolist() == lengths
    kept = strict.corpus("train")
    assert max(kept.source_lengths.max(), kept.target_lengths.max()) == limit
    assert strict.manifest["counts"]["train"]["dropped"]["too_long"] == 300 - len(kept) > 0


def test_what_is_prepared_is_used_again(make_config: Any) -> None:
    first, said = run(make_config())
    assert trained(said)
    again, said = run(make_config(run={"seed": 1, "directory": "another"}, model={"d_model": 32}))
    assert said == [f"prepared data: {first.directory} (unchanged)"]
    assert again.manifest == first.manifest
    assert again.source_tokenizer.model == first.source_tokenizer.model
    assert len(again.corpus("train")) == 300


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer": {"vocab_size": 339}},
        {"tokenizer": {"model_type": "bpe"}},
        {"data": {"max_length": 99}},
        {"data": {"max_length_ratio": 3.0}},
    ],
    ids=str,
)
def test_another_option_prepares_anew_beside_the_old(make_config: Any, change: dict[str, Any]) -> None:
    first, _ = run(make_config())
    second, said = run(make_config(**change))
    assert trained(said)
    assert second.directory != first.directory and first.directory.is_dir()


@pytest.mark.parametrize("name", ["train.s", "train.t", "validation.s", "validation.t"])
def test_another_content_prepares_anew(make_config: Any, tmp_path: Path, name: str) -> None:
    config = make_config()
    first, _ = run(config)
    path = tmp_path / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\n", b" ba\n", 1))
    assert run(config)[0].directory != first.directory
    path.write_bytes(content)
    assert run(config)[1] == [f"prepared data: {first.directory} (unchanged)"]


def test_separate_tokenizers_learn_each_its_own_side(make_config: Any, text: list[str]) -> None:
    options = {"tokenizer": {"shared": False, "vocab_size": 310}, "model": {"tied_embeddings": "none"}}
    prepared, said = run(make_config(**options))
    assert said[0] == "tokenizer: training 310 unigram pieces for each language"
    source, target = prepared.source_tokenizer, prepared.target_tokenizer
    assert source.model != target.model
    lower, upper = text[:50], [sentence.upper() for sentence in text[:50]]
    assert count(source, lower) < count(source, upper) and count(target, upper) < count(target, lower)
    assert open_prepared(prepared.directory).target_tokenizer.model == target.model


def count(tokenizer: Tokenizer, lines: list[str]) -> int:
    return sum(map(len, tokenizer.encode(lines)))


def test_a_given_tokenizer_is_used_as_it_is(make_config: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "given.model"
    tokenizer.save(path)
    config = make_config(tokenizer={"source_model": str(path)})
    prepared, said = run(config)
    assert not trained(said)
    assert prepared.source_tokenizer.model == prepared.target_tokenizer.model == tokenizer.model
    assert prepared.manifest["vocab_size"] == {"source": 330, "target": 330}
    path.unlink()
    assert f"{path}: no such file" in refusal(config)


def test_an_empty_corpus_is_refused(make_config: Any, write_lines: Any) -> None:
    for lines in ([], ["", "  "]):
        sides = write_lines("empty.s", lines), write_lines("empty.t", lines)
        assert "data.train: " in refusal(make_config(data={"train": corpus(*sides)}))
    empty = write_lines("empty.s", []), write_lines("empty.t", [])
    message = refusal(make_config(data={"validation": corpus(*empty)}))
    assert message == f"data.validation: {empty[0]} holds no sentence; give a corpus with text in it"


def test_filters_that_leave_nothing_are_refused(make_config: Any) -> None:
    message = refusal(make_config(data={"max_length": 1}))
    assert message.startswith(
        "data.train: no pair is left: 0 of 300 pairs kept (dropped: 300 too long); raise data.max"
    )


def test_a_broken_corpus_is_told_by_its_line_though_sentencepiece_reads_it(
    make_config: Any, write_lines: Any, text: list[str], tmp_path: Path
) -> None:
    config = make_config()
    run(config)
    short = write_lines("short.t", text[:-1])
    message = refusal(make_config(data={"train": corpus(tmp_path / "train.s", short)}))
    assert f"has 300 lines and {short} has 299" in message
    broken = tmp_path / "broken.t"
    broken.write_bytes(b"fine\n" * 6 + b"\xff\n" + b"fine\n" * 293)
    message = refusal(make_config(data={"train": corpus(tmp_path / "train.s", broken)}))
    assert message.startswith(f"{broken}:7: not UTF-8")
    message = refusal(make_config(data={"validation": corpus(tmp_path / "train.s", broken)}))
    assert message.startswith(f"{broken}:7: not UTF-8")


def test_a_vocabulary_too_large_for_the_corpus_is_refused(make_config: Any) -> None:
    assert refusal(make_config(tokenizer={"vocab_size": 9000})).startswith("tokenizer.vocab_size=9000: the training")


@pytest.mark.parametrize("name", ["train.arrow", "validation.arrow", "tokenizer/shared.model"])
def test_a_damaged_file_is_told_with_what_to_delete(make_config: Any, name: str) -> None:
    config = make_config()
    prepared, _ = run(config)
    damaged = prepared.directory / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    message = refusal(config)
    assert "damaged" in message and ("prepare runs again" in message or name in message)


def test_a_runs_seed_is_not_the_datas(make_config: Any) -> None:
    first, _ = run(make_config())
    second, said = run(make_config(run={"seed": 2, "directory": "another"}))
    assert second.directory == first.directory and not trained(said)


def test_a_damaged_manifest_is_told_with_what_to_delete(make_config: Any) -> None:
    config = make_config()
    prepared, _ = run(config)
    (prepared.directory / "manifest.json").write_text("{", "utf-8")
    assert refusal(config).endswith(f"; delete {prepared.directory}, and prepare runs again")


def test_of_two_at_once_one_prepares_and_the_other_waits_for_it(make_config: Any) -> None:
    """As three seeds of one recipe that are started together."""
    config = make_config()
    with ThreadPoolExecutor(2) as pool:
        (first, heard), (second, also_heard) = pool.map(lambda _: run(config), range(2))
    assert sorted([trained(heard), trained(also_heard)]) == [False, True]
    assert first.manifest == second.manifest
    assert folders(config) == [first.directory.name]
