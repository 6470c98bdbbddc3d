"""Every variant of the model, and every pair of variants, through the checks that each must pass."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.config import ModelSection
from transformer.decoding.speed.prepack import prepack, prepack_int8
from transformer.model.build import build_model
from transformer.model.transformer import EncoderOutput, Transformer

MakeModel = Callable[..., Transformer]
DecodePacked = Callable[[Transformer, Tensor, Tensor], Tensor]
AXES: dict[str, tuple[object, ...]] = {
    "positions": ("sinusoidal", "learned", "shaw_keys", "shaw_keys_values", "t5_bias", "alibi", "rotary", "none"),
    "norm": ("post", "pre", "sandwich", "deep"),
    "norm_kind": ("layer", "rms"),
    "feed_forward": ("relu", "gelu", "silu", "geglu", "swiglu"),
    "num_key_value_heads": (None, 2, 1),
    "decoder_self_attention": ("attention", "average", "ssru"),
    "query_key_norm": (False, True),
    "attention_kernel": ("reference", "sdpa"),
}
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0], [6, 6, 6, 3, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13, 7, 9], [2, 14, 5, 0, 0, 0], [2, 15, 16, 4, 0, 0]])
Choice = dict[str, object]


def is_possible(choice: Choice) -> bool:
    positions = str(choice.get("positions", "sinusoidal"))
    if choice.get("decoder_self_attention") == "average" and positions not in {"sinusoidal", "learned"}:
        return False
    return choice.get("num_key_value_heads") is None or not positions.startswith("shaw")


def pairwise() -> Iterator[Choice]:
    """Choices in which every possible pair of values of two axes comes: greedily, the pair that is still missing and
    then whatever covers most others."""
    missing = {
        ((a, x), (b, y)) for a, b in itertools.combinations(AXES, 2) for x in AXES[a] for y in AXES[b]
        if is_possible({a: x, b: y})
    }  # fmt: skip
    everything = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    possible = [choice for choice in everything if is_possible(choice)]
    while missing:
        sample = possible[:: max(1, len(possible) // 1500)]
        best = max(sample, key=lambda choice: len(missing & set(itertools.combinations(choice.items(), 2))))
        if not missing & set(itertools.combinations(best.items(), 2)):
            pair = min(missing, key=repr)
            best = next(choice for choice in possible if set(pair) <= set(choice.items()))
        missing -= set(itertools.combinations(best.items(), 2))
        yield best


CHOICES = list(pairwise())
NAMES = ["-".join(str(value) for value in choice.values()) for choice in CHOICES]


@pytest.fixture(params=CHOICES, ids=NAMES)
def model(request: pytest.FixtureRequest, make_model: MakeModel) -> Transformer:
    return make_model(**request.param)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_every_pair_of_variants_comes() -> None:
    covered = set(itertools.chain.from_iterable(itertools.combinations(choice.items(), 2) for choice in CHOICES))
    for (a, x), (b, y) in itertools.combinations([(axis, value) for axis in AXES for value in AXES[axis]], 2):
        if a != b and is_possible({a: x, b: y}):
            assert ((a, x), (b, y)) in covered
    sizes = {
        "d_model",
        "d_ff",
        "num_heads",
        "num_encoder_layers",
        "num_decoder_layers",
        "max_positions",
        "shaw_distance",
    }
    tested_elsewhere = {"preset", "dropout", "attention_dropout", "activation_dropout", "layer_drop", "tied_embeddings"}
    assert set(ModelSection.model_fields) - sizes - tested_elsewhere == set(AXES)


@torch.inference_mode()
@pytest.mark.parametrize("freeze", [prepack, prepack_int8])
def test_frozen_for_decoding_it_gives_the_same(model: Transformer, freeze: Callable[[Transformer], None]) -> None:
    """Exactly in fp32; within what 8 bits can tell otherwise."""
    model = model.float()
    expected = model(SOURCE_IDS, TARGET_IDS)
    freeze(model)
    error = (model(SOURCE_IDS, TARGET_IDS) - expected).norm() / expected.norm()
    assert error < (1e-4 if freeze is prepack else 0.4)


def test_a_position_sees_no_later_one(model: Transformer) -> None:
    encoded = model.encode(SOURCE_IDS)
    before = model.decode(TARGET_IDS[:1], encoded.select(torch.tensor([0])))
    changed = TARGET_IDS[:1].clone()
    changed[0, 4:] = torch.tensor([17, 18])
    after = model.decode(changed, encoded.select(torch.tensor([0])))
    close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_padding_changes_nothing(model: Transformer) -> None:
    whole = model(SOURCE_IDS, TARGET_IDS)
    for row in range(3):
        source, target = (ids[row, ids[row] != 0][None] for ids in (SOURCE_IDS, TARGET_IDS))
        close(model(source, target)[0], whole[row, : target.shape[1]])


def test_packed_is_padded_in_values_and_gradients(model: Transformer, decode_packed: DecodePacked) -> None:
    weights = list(model.parameters())
    padded = model.decode(TARGET_IDS, model.encode(SOURCE_IDS))[TARGET_IDS != 0]
    packed = decode_packed(model, SOURCE_IDS, TARGET_IDS)
    close(packed, padded)
    labels = torch.randint(0, 20, (len(packed),))
    for own, expected in zip(
        *(torch.autograd.grad(F.cross_entropy(model.output(h), labels), weights) for h in (packed, padded)), strict=True
    ):
        torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-9)


def test_step_by_step_is_the_whole_whatever_beams_and_sentences_do(model: Transformer) -> None:
    """One row a sentence, then three that change places, then a sentence leaves; 14 steps outgrow the first buffers."""
    encoded, cache = model.encode(SOURCE_IDS), model.new_cache()
    fed = torch.randint(4, 20, (3, 1))  # (rows, tokens so far)
    sentences = torch.arange(3)
    newest = model.decode(fed, encoded, cache)
    for step in range(14):
        if step == 0:
            rows, stay = torch.arange(3).repeat_interleave(3), None
        elif step == 7:
            rows, stay = torch.tensor([2, 0, 0, 8, 7, 6]), torch.tensor([0, 2])
        else:
            rows = torch.cat([start + torch.randint(0, 3, (3,)) for start in range(0, len(fed), 3)])
            stay = None
        cache.reorder(rows, stay)
        encoded = encoded if stay is None else encoded.select(stay)
        sentences = sentences[rows]
        fed = torch.cat([fed[rows], torch.randint(4, 20, (len(rows), 1))], dim=1)
        newest = model.decode(fed[:, -1:], encoded, cache)
    source = model.encode(SOURCE_IDS)
    of_rows = EncoderOutput(source.hidden[sentences], source.source_mask[sentences])
    close(newest, model.decode(fed, of_rows)[:, -1:])


SINGLE = [{axis: value} for axis in AXES for value in AXES[axis][1:]]  # each variant alone, the rest as the default


@pytest.fixture(params=SINGLE, ids=lambda change: "-".join(f"{key}={value}" for key, value in change.items()))
def change(request: pytest.FixtureRequest) -> Choice:
    return request.param  # type: ignore[no-any-return]


def test_gradients_by_finite_differences(make_model: MakeModel, change: Choice) -> None:
    """Of the whole model, for every weight: one direction each, which touches all of its entries. SiLU where the
    variant is another, for ReLU has kinks."""
    shape: Choice = {"d_model": 8, "d_ff": 6, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    shape |= {"feed_forward": "silu"}
    model = make_model(**(shape | change | ({"num_key_value_heads": 1} if "num_key_value_heads" in change else {})))
    labels = torch.randint(0, 20, (3, 6))

    def loss() -> Tensor:
        return F.cross_entropy(model(SOURCE_IDS, TARGET_IDS).flatten(0, 1), labels.flatten())

    names, weights = zip(*model.named_parameters(), strict=True)
    for name, weight, gradient in zip(names, weights, torch.autograd.grad(loss(), weights), strict=True):
        direction, step = torch.randn_like(weight), 1e-5
        with torch.no_grad():
            weight += step * direction
            above = loss()
            weight -= 2 * step * direction
            below = loss()
            weight += step * direction
        slope = float((above - below) / (2 * step))
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-8), name


DECODER_LAYER = "decoder.layers.0."
OWN_WEIGHTS: dict[str, dict[str, tuple[int, ...]]] = {
    "positions=learned": {f"{side}_embedding.positions.weight": (1024, 16) for side in ("source", "target")},
    "positions=shaw_keys": {f"{DECODER_LAYER}self_attention.distance_keys": (33, 4)},
    "positions=shaw_keys_values": {f"{DECODER_LAYER}self_attention.distance_values": (33, 4)},
    "positions=t5_bias": {"encoder.score_bias.weight": (32, 4), "decoder.score_bias.weight": (32, 4)},
    "norm=sandwich": {f"{DECODER_LAYER}feed_forward_residual.norm_after.weight": (16,), "decoder.norm.weight": (16,)},
    "feed_forward=swiglu": {f"{DECODER_LAYER}feed_forward.expand.weight": (48, 16)},
    "decoder_self_attention=average": {
        f"{DECODER_LAYER}self_attention.feed_forward.expand.weight": (24, 16),
        f"{DECODER_LAYER}self_attention.gates.weight": (32, 32),
    },
    "decoder_self_attention=ssru": {f"{DECODER_LAYER}self_attention.gate_and_input.weight": (32, 16)},
    "query_key_norm=True": {
        f"{DECODER_LAYER}self_attention.query_norm.weight": (4,),
        f"{DECODER_LAYER}cross_attention.key_norm.weight": (4,),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OWN_WEIGHTS)
def test_names_and_shapes_of_weights_stay(make_model: MakeModel, name: str) -> None:
    """Checkpoints hold them."""
    axis, value = name.split("=")
    weights = make_model(**{axis: True if value == "True" else value}).state_dict()
    assert {key: tuple(weights[key].shape) for key in OWN_WEIGHTS[name]} == OWN_WEIGHTS[name]
    plain = make_model().state_dict()
    assert not set(OWN_WEIGHTS[name]) & {key for key in plain if weights.get(key, plain[key]).shape == plain[key].shape}


@pytest.mark.parametrize("positions", ["rotary", "alibi", "t5_bias", "shaw_keys", "none"])
def test_sentences_longer_than_any_before_work(make_model: MakeModel, positions: str) -> None:
    model = make_model(positions=positions)
    ids = torch.randint(4, 20, (1, 600))
    assert model(ids, ids[:, :3]).isfinite().all()


def test_without_positions_an_encoder_knows_no_order(make_model: MakeModel) -> None:
    model = make_model(positions="none")
    order = torch.tensor([2, 0, 3, 1])
    ids = torch.tensor([[5, 6, 7, 8]])
    close(model.encode(ids[:, order]).hidden, model.encode(ids).hidden[:, order])
    assert not torch.allclose(
        make_model().encode(ids[:, order]).hidden, make_model().encode(ids).hidden[:, order], atol=1e-3
    )


def test_compiled_it_gives_the_same_loss(make_model: MakeModel, change: Choice) -> None:
    """Captured as a whole graph, forward and backward; only the generation of machine code is left out."""
    torch.compiler.reset()
    model = make_model(**change)
    labels = torch.randint(0, 20, (3, 6))

    def loss(run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return F.cross_entropy(run(SOURCE_IDS, TARGET_IDS).flatten(0, 1), labels.flatten())

    compiled = loss(torch.compile(model, backend="aot_eager", fullgraph=True))
    close(compiled, loss(model))
    weights = list(model.parameters())
    for own, expected in zip(
        torch.autograd.grad(compiled, weights), torch.autograd.grad(loss(model), weights), strict=True
    ):
        torch.testing.assert_close(own, expected, rtol=1e-7, atol=1e-10)


def share_copied(model: Transformer, words: Tensor) -> float:
    """The share of words (B, T) that the model writes out right, given those before."""
    model.eval()
    with torch.inference_mode():
        logits = model(F.pad(words, (0, 1), value=3), F.pad(words, (1, 0), value=2))
    model.train()
    return float((logits.argmax(dim=2)[:, :-1] == words).float().mean())


@pytest.mark.slow
def test_it_learns_to_copy(change: Choice) -> None:
    """Random words of a small vocabulary, written out again: nearly all right within 3,000 updates, by most variants
    after a few hundred."""
    if change.get("positions") == "none":
        pytest.skip("without positions nothing says which word comes first")
    torch.manual_seed(0)
    shape: Choice = {"d_model": 64, "d_ff": 64, "num_heads": 4, "num_encoder_layers": 1, "num_decoder_layers": 2}
    options = ModelSection(**(shape | {"norm": "pre", "dropout": 0.0} | change))  # type: ignore[arg-type]
    model = build_model(options, 20, 20, pad_id=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98))
    unseen, found = torch.randint(4, 20, (200, 7)), list[float]()
    for update in range(3000):
        words = torch.randint(4, 20, (64, 7))
        logits = model(F.pad(words, (0, 1), value=3), F.pad(words, (1, 0), value=2))
        loss = F.cross_entropy(logits.flatten(0, 1), F.pad(words, (0, 1), value=3).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (update + 1) / 100)
        optimizer.step()
        if update % 100 == 99:
            found.append(share_copied(model, unseen))
            if found[-1] > 0.95:
                return
    pytest.fail(f"{found[-1]:.0%} of the words after 3,000 updates")
