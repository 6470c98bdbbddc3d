"""YAML and overrides into a config: what is refused, where, and in which words."""

import copy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.config import (
    Config,
    as_config,
    changed_keys,
    dump_config,
    is_override,
    load_config,
    override_config,
    parse_config,
)
from transformer.errors import UserError


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_config(text, "c.yaml", overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model: {d_modle: 3}", "c.yaml:8: model.d_modle: unknown key; did you mean d_model?"),
        ("modle: {d_model: 3}", "c.yaml:8: modle: unknown key; did you mean model?"),
        (
            "decoding:\n  beam_size: 2\n  zzz: 1",
            "c.yaml:10: decoding.zzz: unknown key; valid here: checkpoint, beam_size",
        ),
        ("model:\n\n  # a remark\n  d_model: wide", "c.yaml:11: model.d_model: input should be a valid integer"),
        ("model: {d_ff: 0}", "c.yaml:8: model.d_ff: input should be greater than 0 (it is 0)"),
        (
            "model: {norm: both}",
            "c.yaml:8: model.norm: input should be 'post', 'pre', 'sandwich' or 'deep' (it is 'both')",
        ),
        ("model: {num_heads: 8, num_key_value_heads: 3}", "c.yaml:8: model: num_heads 8 is not divisible by num_key_"),
        ("model: {positions: rotary, d_model: 24, num_heads: 8}", "c.yaml:8: model: a head of width 3 is odd; rotary"),
        ("model: {positions: shaw_keys, num_key_value_heads: 1}", "c.yaml:8: model: positions shaw_keys needs a head"),
        (
            "model: {positions: learned, max_positions: 256}",
            "model.max_positions 256 is too few for data.",
        ),
        (
            "model: {positions: alibi, decoder_self_attention: average}",
            "model: decoder_self_attention average needs positions sinusoidal or learned",
        ),
        ("model: {d_model: 30, num_heads: 4}", "c.yaml:8: model: d_model 30 is not divisible by num_heads 4"),
        ("training:\n  betas: [0.9, 2]", "c.yaml:9: training.betas.1: input should be less than 1 (it is 2)"),
        ("training: {learning_rate: .nan}", "training.learning_rate: input should be a finite number (it is nan)"),
        ("model:", "c.yaml:8: model: a section holds options"),
        ("model: 3", "c.yaml:8: model: a section holds options, one `name: value` a line"),
        ("model: {1: 2}", "c.yaml:8: model.1: unknown key"),
        (
            "training:\n  noise_scale_every: 5",
            "c.yaml:9: training.noise_scale_every: this option was removed, because",
        ),
        ("model: {? [1, 2] : 3}", "c.yaml:8: model.[1, 2]: unknown key"),
    ],
)
def test_a_refusal_names_file_line_key_value_and_what_is_valid(minimal: str, line: str, expected: str) -> None:
    assert expected in refusal(f"{minimal}{line}\n")


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("{sorce: a, target: b}", "c.yaml:6: data.train.0.sorce: unknown key; did you mean source?"),
        (
            "\n    - {source: a, target: b}\n    - {source: a}",
            "c.yaml:8: data.train.1: source and target belong together",
        ),
        ("[]", "c.yaml:6: data.train: needs at least one entry (it is [])"),
        ("train.zh", "c.yaml:6: data.train: needs a list (it is 'train.zh')"),
        ("{table: a.tsv, source_field: 0, target_field: 1}", "data.train.0.source_field: needs a field's name, or a"),
    ],
)
def test_a_refusal_names_the_corpus_by_its_number(minimal: str, train: str, expected: str) -> None:
    assert expected in refusal(minimal.replace("{source: train.zh, target: train.en}", train))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {d_model: 8, d_model: 16}", "c.yaml:8: d_model stands twice"),
        ("run:\n  directory: other", "c.yaml:8: run stands twice"),
        ("model: &m {d_model: 8}", "c.yaml:8: anchors and aliases are not accepted"),
        ("model: *m", "c.yaml:8: anchors and aliases are not accepted"),
        ("model: {<<: {d_model: 8}}", "c.yaml:8: model.<<: unknown key"),
        (
            "model: !!python/object/apply:os.getcwd []",
            "c.yaml:8: the tag tag:yaml.org,2002:python/object/apply:os.getcwd",
        ),
        ("model: !!int x", "c.yaml:8: the tag"),
        ("model: " + "[" * 5000, "c.yaml:8: nested more than 16 deep"),
        ("\n".join(" " * depth + "a:" for depth in range(3000)), "nested more than 16 deep"),
        ("model: {d_model: 8", "not valid YAML: expected ',' or '}'"),
        ("model: 'open", "not valid YAML: found unexpected end of stream"),
        ("\tmodel: 1", "c.yaml:8: not valid YAML: found character '\\t'"),
        ("model: \0", "c.yaml: not valid YAML: unacceptable character"),
        ("---\nmodel: {}", "c.yaml:8: not valid YAML: but found another document"),
        ("model: {d_model: " + "9" * 5000 + "}", "c.yaml: not a config"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_no_plain_page_of_options_is_refused(minimal: str, text: str, expected: str) -> None:
    assert expected in refusal(f"{minimal}{text}\n")


def test_something_else_than_sections_is_refused() -> None:
    assert "a config is a mapping of sections (run, data," in refusal("- a\n- b\n")
    assert refusal("") == "c.yaml: run: missing; this option must be given"


@pytest.mark.parametrize("word", ["no", "on", "007", "2024-01-01", "1:30"])
def test_plain_words_stay_words(minimal: str, word: str) -> None:
    assert parse_config(minimal.replace("runs/x", word), "c.yaml").run.directory == word
    assert parse_config(minimal, "c.yaml", [f"data.target_language={word}"]).data.target_language == word


@pytest.mark.parametrize("number", ["12000", "00012000"])
def test_a_checkpoint_is_named_by_its_update(minimal: str, number: str) -> None:
    assert parse_config(minimal, "c.yaml", [f"decoding.checkpoint={number}"]).decoding.checkpoint == number


def test_numbers_are_decimal(minimal: str) -> None:
    training = parse_config(f"{minimal}training: {{learning_rate: 1e-3, max_updates: 0700}}", "c.yaml").training
    assert (training.learning_rate, training.max_updates) == (0.001, 700)
    assert "training.max_updates" in refusal(f"{minimal}training: {{max_updates: 1:30}}")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.d_model=wide", "override model.d_model=wide: model.d_model: input should be a valid integer"),
        ("model.d_modle=3", "override model.d_modle=3: model.d_modle: unknown key; did you mean d_model?"),
        ("modle.d_model=3", "modle.d_model=3: an override reads section.key=value, with a section of run, data,"),
        ("model=3", "an override reads section.key=value"),
        ("run.directory=", "override run.directory=: run.directory: needs text"),
        ("training.betas=0.9", "override training.betas=0.9: training.betas: needs a list"),
        ("run.seed.x.y=1", "run.seed"),
    ],
)
def test_a_wrong_override_is_refused_by_name(minimal: str, override: str, expected: str) -> None:
    assert expected in refusal(minimal, override)


def test_overrides_lie_over_the_file_in_order(minimal: str) -> None:
    overrides = [
        "model.d_model=64",
        "run.directory=a=b",
        "training.betas=[0.8, 0.9]",
        "model.d_model=32",
        "run.threads=2",
    ]
    config = parse_config(f"{minimal}model: {{d_model: 128, d_ff: 5}}\n", "c.yaml", overrides)
    assert (config.model.d_model, config.model.d_ff) == (32, 5)
    assert (config.run.directory, config.training.betas) == ("a=b", (0.8, 0.9))
    assert override_config(config, ["run.threads="]).run.threads is None


def test_overriding_a_config_keeps_the_rest_and_checks_the_whole(config: Config) -> None:
    assert override_config(config, []) is config
    assert changed_keys(config, override_config(config, ["model.d_model=64"])) == ["model.d_model"]
    with pytest.raises(UserError, match=r"^override tokenizer\.shared=false: model\.tied_embeddings three_way needs"):
        override_config(config, ["tokenizer.shared=false"])
    with pytest.raises(UserError, match=r"data\.train holds no options"):
        override_config(config, ["data.train.source=x"])


def test_an_override_is_told_from_a_sentence() -> None:
    assert is_override("model.d_model=64") and is_override("data.train.source=a\nb")
    assert not any(map(is_override, ["x.y=1", "model=1", "model.d_model", "a model.d_model=1", "decoding.=1"]))


@settings(deadline=None)
@given(
    directory=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    rate=st.floats(1e-12, 1e6),
    threads=st.none() | st.integers(1, 1024),
    shared=st.booleans(),
    fields=st.sampled_from([("a", "b"), (1, 2), ("1", "no"), ("translation.de", "null")]),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    checkpoint=st.from_regex(r"\A(best|last|averaged|[0-9]{1,10})\Z"),
)
def test_a_dumped_config_reads_back_the_same(
    directory: str, rate: float, threads: int | None, shared: bool, fields: tuple[object, object],
    betas: tuple[float, float], checkpoint: str,
) -> None:  # fmt: skip
    corpus = {"table": "a.tsv", "source_field": fields[0], "target_field": fields[1]}
    config = Config.model_validate(
        {
            "run": {"directory": directory, "threads": threads},
            "data": {
                "source_language": "no",
                "target_language": directory,
                "train": corpus,
                "validation": [corpus] * 2,
            },
            "tokenizer": {"shared": shared},
            "model": {"tied_embeddings": "none"},
            "training": {"learning_rate": rate, "betas": betas},
            "decoding": {"checkpoint": checkpoint},
        }
    )
    again = parse_config(dump_config(config), "dumped")
    assert again == config
    assert changed_keys(config, again) == []


def test_a_run_that_used_a_removed_option_still_loads(tmp_path: Path, minimal: str) -> None:
    """Whatever its value, as training went the same way; anybody else's config may hold it where it is empty."""
    (tmp_path / "config.yaml").write_text(f"{minimal}training: {{noise_scale_every: 5, max_updates: 7}}\n", "utf-8")
    assert load_config(tmp_path).training.max_updates == 7
    with pytest.raises(UserError, match="removed"):
        load_config(tmp_path / "config.yaml")
    with pytest.raises(UserError, match=r"^override training\.noise_scale_every=3: .*removed.* leave it out$"):
        load_config(tmp_path, ["training.noise_scale_every=3"])
    empty = f"{minimal}training: {{noise_scale_every: null}}\n"
    assert parse_config(empty, "c.yaml") == parse_config(minimal, "c.yaml")
    with pytest.raises(UserError, match="removed"):
        override_config(parse_config(minimal, "c.yaml"), ["training.noise_scale_every=3"])


def test_changed_keys_are_dotted_and_complete(config: Config) -> None:
    other = override_config(config, ["model.d_ff=8", "data.train={source: x, target: y}", "run.threads=1"])
    assert sorted(changed_keys(config, other)) == ["data.train", "model.d_ff", "run.threads"]


def test_files_are_read_and_their_absence_is_told(tmp_path: Path, minimal: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(minimal, "utf-8")
    assert load_config(path) == load_config(tmp_path) == load_config(str(path), ["run.seed=1"])
    for place, expected in (
        (tmp_path / "none.yaml", "none.yaml: no such config file or run directory"),
        (tmp_path.parent, "this directory is no run (it holds no config.yaml)"),
        (path / "below", "cannot be read (Not a directory)"),
    ):
        with pytest.raises(UserError) as caught:
            load_config(place)
        assert expected in str(caught.value) and str(place) in str(caught.value)


def test_files_that_are_no_text_or_no_page_are_refused(tmp_path: Path, minimal: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(minimal.encode() + b"# caf\xe9\n")
    with pytest.raises(UserError, match=rf"config\.yaml: not UTF-8 text \(byte {len(minimal.encode()) + 5}\)"):
        load_config(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UserError, match="it is too large: more than 200,000 bytes"):
        load_config(path)
    path.write_bytes(b"\xef\xbb\xbf" + minimal.encode())
    assert load_config(path).run.directory == "runs/x"


def test_a_mapping_of_sections_stays_what_it_was() -> None:
    train, validation = {"source": Path("x"), "target": "y"}, {"source": "v", "target": "w"}
    languages = {"source_language": "en", "target_language": "de"}
    sections = {"run": {"directory": "runs/x"}, "data": {**languages, "train": train, "validation": validation}}
    before = copy.deepcopy(sections)
    config = as_config(sections, ["data.validation.source=z"])
    assert [each.source for each in (*config.data.validation, *config.data.train)] == ["z", "x"]
    assert sections == before
    with pytest.raises(UserError, match="model=3: give a section's options as a mapping"):
        as_config({"model": 3})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="override 3: give a text"):
        as_config(sections, [3])  # type: ignore[list-item]
