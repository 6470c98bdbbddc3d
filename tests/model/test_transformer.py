import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.model.masks import padding_mask
from transformer.model.speed.dropout import Dropout
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13, 14], [2, 15, 16, 0, 0]])
KINDS = pytest.mark.parametrize(
    "kind", [{"norm": n, "attention_kernel": k} for n in ("post", "pre") for k in ("reference", "sdpa")], ids=str
)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@KINDS
def test_a_later_target_token_never_changes_an_earlier_logit(make_model: MakeModel, kind: dict[str, str]) -> None:
    model = make_model(**kind)
    logits = model(SOURCE_IDS, TARGET_IDS)
    for position in range(1, 5):
        changed = TARGET_IDS.clone()
        changed[:, position] = 17
        other = model(SOURCE_IDS, changed)
        assert torch.equal(other[:, :position], logits[:, :position])
        assert not torch.allclose(other[0, position], logits[0, position])
        assert_same(model(SOURCE_IDS, TARGET_IDS[:, :position]), logits[:, :position])


@KINDS
def test_padding_and_batch_mates_never_change_a_sentence(make_model: MakeModel, kind: dict[str, str]) -> None:
    model = make_model(**kind)
    logits = model(SOURCE_IDS, TARGET_IDS)
    assert_same(logits[1:, :3], model(SOURCE_IDS[1:, :3], TARGET_IDS[1:, :3]))
    assert_same(logits[:1], model(SOURCE_IDS[:1], TARGET_IDS[:1]))
    wider = model(F.pad(SOURCE_IDS, (0, 4)), F.pad(TARGET_IDS, (0, 3)))
    assert_same(wider[:, :5], logits)


def test_every_source_token_matters_to_every_target_position(make_model: MakeModel) -> None:
    model = make_model()
    logits = model(SOURCE_IDS, TARGET_IDS)
    for position in range(5):
        changed = SOURCE_IDS.clone()
        changed[0, position] = 17
        difference = (model(changed, TARGET_IDS) - logits).abs().amax(dim=-1)
        assert (difference[0] > 1e-4).all()
        assert (difference[1] == 0).all()


def test_the_order_of_tokens_matters(make_model: MakeModel) -> None:
    model = make_model()
    swapped = SOURCE_IDS[:, [1, 0, 2, 3, 4]]
    assert not torch.allclose(model(SOURCE_IDS, TARGET_IDS)[0], model(swapped, TARGET_IDS)[0])


def test_kernels_give_the_same_model(make_model: MakeModel) -> None:
    reference, sdpa = make_model(attention_kernel="reference"), make_model(attention_kernel="sdpa")
    sdpa.load_state_dict(reference.state_dict())
    found = []
    for model in (reference, sdpa):
        logits = model(SOURCE_IDS, TARGET_IDS)
        F.cross_entropy(logits.flatten(0, 1), TARGET_IDS.flatten(), ignore_index=0).backward()
        found.append([logits, *(parameter.grad for parameter in model.parameters())])
    for ours, fused in zip(*found, strict=True):
        assert_same(ours, fused)


def test_teacher_forcing_is_encode_decode_and_output(make_model: MakeModel) -> None:
    model = make_model()
    mask = padding_mask(SOURCE_IDS, 0)
    encoded = model.encode(SOURCE_IDS, mask)
    assert torch.equal(encoded.source_mask, mask)
    hidden = model.decode(TARGET_IDS, encoded)
    assert hidden.shape == (2, 5, 16)
    assert torch.equal(model.output(hidden), model(SOURCE_IDS, TARGET_IDS))


def test_a_given_source_mask_is_obeyed(make_model: MakeModel) -> None:
    model = make_model()
    mask = torch.tensor([[True, True, True, False, False]])[:, None, None, :]
    hidden = model.encode(SOURCE_IDS[:1], mask).hidden
    assert_same(hidden[:, :3], model.encode(SOURCE_IDS[:1, :3]).hidden)


def test_each_side_reads_its_own_embedding(make_model: MakeModel) -> None:
    model = make_model(tied_embeddings="none")
    model(SOURCE_IDS, TARGET_IDS).sum().backward()
    for embedding, ids in ((model.source_embedding, SOURCE_IDS), (model.target_embedding, TARGET_IDS)):
        gradient = embedding.weight.grad
        assert gradient is not None
        read = set(gradient.abs().sum(dim=1).nonzero().flatten().tolist())
        assert read - {0} <= set(ids.flatten().tolist())
        assert len(read) >= 5


def test_dropout_is_on_in_training_and_off_in_evaluation(make_model: MakeModel) -> None:
    model = make_model(dropout=0.2)
    assert torch.equal(model(SOURCE_IDS, TARGET_IDS), model(SOURCE_IDS, TARGET_IDS))
    model.train()
    assert not torch.allclose(model(SOURCE_IDS, TARGET_IDS), model(SOURCE_IDS, TARGET_IDS))


def test_dropout_stands_where_the_paper_has_it(make_model: MakeModel) -> None:
    """On both embeddings and on each sub-layer's output, of equal strength."""
    rates = {name: m.p for name, m in make_model(dropout=0.2).named_modules() if isinstance(m, Dropout)}
    rates = {name: rate for name, rate in rates.items() if rate}  # attention's and activations' own are 0
    assert set(rates.values()) == {0.2}
    assert len(rates) == 2 + 2 * 2 + 2 * 3


@pytest.mark.parametrize("length", [0, 2])
def test_cached_decoding_refuses_all_but_one_token(make_model: MakeModel, length: int) -> None:
    model = make_model()
    with pytest.raises(ValueError, match=f"one token a row at a time, not {length}"):
        model.decode(TARGET_IDS[:, :length], model.encode(SOURCE_IDS), model.new_cache())


def test_encoder_output_selects_sentences(make_model: MakeModel) -> None:
    encoded = make_model().encode(SOURCE_IDS)
    chosen = encoded.select(torch.tensor([1, 0, 1]))
    assert torch.equal(chosen.hidden, encoded.hidden[[1, 0, 1]])
    assert torch.equal(chosen.source_mask, encoded.source_mask[[1, 0, 1]])


def test_the_room_stands_alone() -> None:
    """Importing the model loads no data code, no tokenizer and nothing distributed."""
    code = "import sys, transformer.model.build; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert "transformer.model.attention" in loaded
    rooms = {f"transformer.{room}" for room in ("data", "runtime", "training", "decoding", "checkpoint", "cli")}
    assert not loaded & (rooms | {"sentencepiece", "pyarrow", "datasets", "sacrebleu"})
