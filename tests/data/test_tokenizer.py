"""SentencePiece behind fixed special ids: nothing is lost, nothing breaks a line, refusals say what to set."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.config import TokenizerSection
from transformer.data.tokenizer import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    UNK,
    Tokenizer,
    load_tokenizers,
    save_tokenizers,
    train_tokenizer,
)
from transformer.errors import UserError


def train(text: list[str] | Iterator[str], **options: object) -> Tokenizer:
    section = TokenizerSection.model_validate({"vocab_size": 330} | options)
    return train_tokenizer(section, iter(text), threads=1)


@pytest.fixture(scope="module")
def exact(text: list[str]) -> Tokenizer:
    """Changes no character."""
    return train(text, normalization="identity")


def test_special_ids_are_fixed(tokenizer: Tokenizer) -> None:
    assert (PAD, UNK, BOS, EOS) == (0, 1, 2, 3)
    assert tokenizer.pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert tokenizer.vocab_size == 330


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_seen_text_round_trips_in_few_tokens(text: list[str], model_type: str) -> None:
    tokenizer = train(text, model_type=model_type)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert sum(map(len, ids)) < sum(map(len, text))
    assert min(map(min, ids)) > EOS


def test_training_is_deterministic_and_normalisation_is_an_option(text: list[str], tokenizer: Tokenizer) -> None:
    assert train(text).model == tokenizer.model
    assert tokenizer.decode(tokenizer.encode(["ＡＢ ﬁ"])) == ["AB fi"]
    folded = train(text, normalization="nmt_nfkc_cf")
    assert folded.decode(folded.encode(["BA Da"])) == ["ba da"]


@settings(deadline=None)
@given(
    line=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\u2581"), max_size=30)
)
def test_unseen_characters_are_spelled_in_bytes(exact: Tokenizer, line: str) -> None:
    line = re.sub(" +", " ", line).strip(" ")  # SentencePiece keeps single spaces alone
    (ids,) = exact.encode([line])
    assert UNK not in ids
    assert exact.decode([ids]) == [line]


def test_names_of_special_pieces_in_text_are_only_text(tokenizer: Tokenizer) -> None:
    lines = ["<s> </s> <unk> <pad>", "<0x0A>", "😀 你好 ß"]
    ids = tokenizer.encode(lines)
    assert min(map(min, ids)) > EOS
    assert tokenizer.decode(ids) == lines


def test_empty_lines_and_empty_batches(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([]) == [] == tokenizer.decode([])
    assert tokenizer.encode(["", "   ", "ba"])[:2] == [[], []]
    assert tokenizer.decode([[], [BOS, EOS]]) == ["", ""]


def test_special_ids_leave_no_trace(tokenizer: Tokenizer, text: list[str]) -> None:
    (ids,) = tokenizer.encode(text[:1])
    middle = len(ids) // 2
    assert tokenizer.decode([[BOS, *ids[:middle], UNK, PAD, *ids[middle:], EOS, PAD, PAD]]) == text[:1]


def byte_ids(tokenizer: Tokenizer, content: bytes) -> list[int]:
    first = next(index for index in range(tokenizer.vocab_size) if tokenizer.pieces([index]) == ["<0x00>"])
    return [first + byte for byte in content]


@pytest.mark.parametrize("separator", list("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))
def test_line_breaks_spelled_in_bytes_become_spaces(tokenizer: Tokenizer, separator: str) -> None:
    ids = byte_ids(tokenizer, f"a{separator}b".encode())
    assert tokenizer.decode([ids]) == ["a b"]


@settings(deadline=None)
@given(content=st.lists(st.integers(0, 255) | st.sampled_from([10, 13, 0xE2, 0x80, 0xA8, 0xC2, 0x85]), max_size=12))
def test_no_ids_decode_to_more_than_one_line(tokenizer: Tokenizer, content: list[int]) -> None:
    (line,) = tokenizer.decode([byte_ids(tokenizer, bytes(content))])
    assert len(f"{line}.".splitlines()) == 1


def test_a_shared_model_is_one_file_and_one_object(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save_tokenizers(tmp_path, tokenizer, tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["shared.model"]
    source, target = load_tokenizers(tmp_path)
    assert source is target
    assert source.model == tokenizer.model


def test_separate_models_keep_their_sides(tmp_path: Path, tokenizer: Tokenizer, exact: Tokenizer) -> None:
    save_tokenizers(tmp_path, tokenizer, exact)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.model", "target.model"]
    assert [side.model for side in load_tokenizers(tmp_path)] == [tokenizer.model, exact.model]


def test_models_of_a_config_that_was_given_up_do_not_stay(
    tmp_path: Path, tokenizer: Tokenizer, exact: Tokenizer
) -> None:
    save_tokenizers(tmp_path, tokenizer, exact)
    save_tokenizers(tmp_path, exact, exact)
    assert [side.model for side in load_tokenizers(tmp_path)] == [exact.model, exact.model]
    save_tokenizers(tmp_path, tokenizer, exact)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.model", "target.model"]


def test_a_missing_or_damaged_model_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "shared.model"
    with pytest.raises(UserError, match=r"shared\.model: cannot be read \(No such file"):
        load_tokenizers(tmp_path)
    for content in (b"", b"junk", tokenizer.model[: len(tokenizer.model) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"shared\.model: not a SentencePiece model, or damaged"):
            load_tokenizers(tmp_path)


def test_foreign_special_ids_are_refused(text: list[str]) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, vocab_size=60, minloglevel=2
    )
    with pytest.raises(
        UserError, match=r"^foreign\.model: its special ids are .*'pad': -1.*needed are .*--pad_id=0"
    ) as error:
        Tokenizer(model.getvalue(), "foreign.model")
    assert str(SPECIALS) in str(error.value)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_large_is_refused_with_the_largest_that_works(text: list[str], model_type: str) -> None:
    with pytest.raises(UserError, match=r"^tokenizer\.vocab_size=9000: the training corpus supports at most") as error:
        train(text, vocab_size=9000, model_type=model_type)
    largest = int(str(error.value).rsplit("set ", 1)[1].removesuffix(" or less"))
    assert train(text, vocab_size=largest, model_type=model_type).vocab_size == largest
    with pytest.raises(UserError, match=rf"set {largest} or less"):
        train(text, vocab_size=largest + 1, model_type=model_type)


def test_a_vocabulary_too_small_for_the_characters_is_refused() -> None:
    characters = [chr(0x4E00 + index) for index in range(400)]
    with pytest.raises(
        UserError, match=r"^tokenizer\.vocab_size=300: too few pieces for the corpus' characters; raise"
    ):
        train(characters, vocab_size=300)


def test_an_error_in_the_sentences_comes_through_as_it_is(text: list[str]) -> None:
    for error in (UserError("corpus:6: not UTF-8"), KeyboardInterrupt()):

        def broken(error: BaseException = error) -> Iterator[str]:
            yield from text[:5]
            raise error

        with pytest.raises(type(error)) as caught:
            train(broken())
        assert caught.value is error
