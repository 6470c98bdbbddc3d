import copy
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from transformer.config import DecodingSection
from transformer.data.tokenizer import EOS, SPECIALS, Tokenizer
from transformer.decoding.speed.prepack import prepack, prepack_int8
from transformer.decoding.speed.shortlist import SHORTLIST_FILE, Shortlist, read_shortlist
from transformer.decoding.step import ModelState, ModelStep
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.transformer import Transformer

VOCABULARY = 320
SENTENCES = ["the cat sees two dog", "old house", "a bird", "small tree likes the big red dog"]
CANDIDATES = np.full((VOCABULARY, 3), -1, dtype=np.int32)
CANDIDATES[5], CANDIDATES[6] = [40, 41, -1], [300, 41, 42]
FREQUENT = np.array([7, 40, 9], dtype=np.int32)
CPU = torch.device("cpu")


def everything() -> Shortlist:
    return Shortlist(np.zeros((VOCABULARY, 1), dtype=np.int32), np.arange(VOCABULARY, dtype=np.int32))


def test_a_sentence_has_its_pieces_candidates_the_frequent_and_the_special_ones() -> None:
    batch = Shortlist(CANDIDATES, FREQUENT).of_batch([[5], [6, 5], [8]], CPU)
    special = sorted(SPECIALS.values())
    assert batch.ids[: len(special)].tolist() == special
    assert len(batch.ids) % 512 == 0
    allowed = [batch.ids[row].tolist() for row in batch.allowed]
    assert allowed == [
        [*special, 7, 9, 40, 41],
        [*special, 7, 9, 40, 41, 42, 300],
        [*special, 7, 9, 40],
    ]
    assert torch.equal(batch.select(torch.tensor([2, 0])).allowed, batch.allowed[[2, 0]])


@pytest.mark.parametrize("freeze", [None, prepack, prepack_int8])
@torch.inference_mode()
def test_log_probabilities_are_the_models_among_the_allowed(tiny_model: Transformer, freeze: object) -> None:
    model = copy.deepcopy(tiny_model).float()
    if callable(freeze):
        freeze(model)
    source_ids = torch.tensor([[5, EOS, 0], [6, 5, EOS]])
    batch = Shortlist(CANDIDATES, FREQUENT).of_batch([[5], [6, 5]], CPU)
    step, state = ModelStep(model, batch), ModelState(model, source_ids, batch)
    places = torch.tensor([[2], [2]])
    found, _ = step(places, state)
    whole, _ = ModelStep(model)(batch.ids[places], ModelState(model, source_ids))
    for row in range(2):
        allowed = batch.allowed[row]
        expected = whole[row, batch.ids[allowed]].log_softmax(0)
        torch.testing.assert_close(found[row, allowed], expected, rtol=1e-4, atol=1e-4)
        assert (found[row, ~allowed] == float("-inf")).all()


def test_a_shortlist_of_everything_changes_nothing(tiny_model: Transformer, tokenizer: Tokenizer) -> None:
    options = DecodingSection(beam_size=3, n_best=3, max_length_extra=6)
    plain = Translator(tiny_model, tokenizer, tokenizer, options).translate_n_best(SENTENCES)
    listed = Translator(tiny_model, tokenizer, tokenizer, options, shortlist=everything()).translate_n_best(SENTENCES)
    assert [[t.text for t in best] for best in listed] == [[t.text for t in best] for best in plain]
    assert [t.score for best in listed for t in best] == pytest.approx([t.score for best in plain for t in best])


@pytest.mark.parametrize("batch_size", [1, 64])
def test_it_is_a_sentences_own(tiny_model: Transformer, tokenizer: Tokenizer, batch_size: int) -> None:
    """Each piece is translated by two others alone: all that is written comes from there, whatever stands beside."""
    candidates = (np.arange(VOCABULARY)[:, None] + [1, 2]) % VOCABULARY
    shortlist = Shortlist(candidates.astype(np.int32), np.array([50], dtype=np.int32))
    options = DecodingSection(beam_size=3, max_length_extra=6, batch_size=batch_size)
    translator = Translator(tiny_model, tokenizer, tokenizer, options, shortlist=shortlist)
    for ids, (best,) in zip(tokenizer.encode(SENTENCES), translator.translate_n_best(SENTENCES), strict=True):
        assert set(best.ids) <= {50} | {candidate for i in ids for candidate in candidates[i].tolist()}


def test_samples_do_not_depend_on_the_batch_shortlist(tiny_model: Transformer, tokenizer: Tokenizer) -> None:
    candidates = ((np.arange(VOCABULARY)[:, None] * 7 + np.arange(5)) % VOCABULARY).astype(np.int32)
    shortlist = Shortlist(candidates, np.array([50], dtype=np.int32))
    found = []
    for batch_size in (1, 64):
        options = DecodingSection(method="sample", n_best=5, max_length_extra=6, batch_size=batch_size)
        translator = Translator(tiny_model, tokenizer, tokenizer, options, shortlist=shortlist)
        found.append([[t.ids for t in samples] for samples in translator.translate_n_best(SENTENCES)])
    assert found[0] == found[1]
    assert len({tuple(ids) for samples in found[0] for ids in samples}) > 2 * len(SENTENCES)


def test_written_and_read_again(tmp_path: Path) -> None:
    path = Shortlist(CANDIDATES, FREQUENT).write(tmp_path)
    assert path == tmp_path / SHORTLIST_FILE
    found = read_shortlist(tmp_path, VOCABULARY, VOCABULARY)
    assert np.array_equal(found.candidates, CANDIDATES)
    assert np.array_equal(found.frequent, FREQUENT)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"candidates": CANDIDATES}, "damaged"),
        ({"candidates": CANDIDATES[:5], "frequent": FREQUENT}, "not of this run's vocabularies"),
        ({"candidates": CANDIDATES + 200, "frequent": FREQUENT}, "not of this run's vocabularies"),
        ({"candidates": CANDIDATES, "frequent": FREQUENT - 8}, "not of this run's vocabularies"),
        ({"candidates": CANDIDATES.astype(np.float32), "frequent": FREQUENT}, "not of this run's vocabularies"),
        ({"candidates": CANDIDATES[0], "frequent": FREQUENT}, "not of this run's vocabularies"),
    ],
    ids=["missing", "rows", "large", "negative", "numbers", "flat"],
)
def test_a_file_that_is_no_shortlist_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray], message: str) -> None:
    (tmp_path / SHORTLIST_FILE).write_bytes(safetensors.numpy.save(tensors))
    with pytest.raises(UserError, match=f"{SHORTLIST_FILE}: {message}.*transformer shortlist"):
        read_shortlist(tmp_path, VOCABULARY, VOCABULARY)


def test_a_missing_or_broken_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file, and decoding.shortlist=true needs it; make it: transformer"):
        read_shortlist(tmp_path, VOCABULARY, VOCABULARY)
    (tmp_path / SHORTLIST_FILE).write_bytes(b"garbage")
    with pytest.raises(UserError, match="damaged"):
        read_shortlist(tmp_path, VOCABULARY, VOCABULARY)
