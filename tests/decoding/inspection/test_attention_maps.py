import copy
import json
import sys
from collections.abc import Callable

import pytest
import torch

from transformer.decoding.inspection.attention_maps import AttentionMaps, attention_maps
from transformer.decoding.speed.prepack import prepack
from transformer.decoding.translator import Translator
from transformer.errors import UserError
from transformer.model.transformer import Transformer

SOURCE, TARGET = [5, 6, 7], [12, 13, 14, 15]


def test_maps_of_every_layer_and_head(tiny_model: Transformer) -> None:
    maps = attention_maps(tiny_model, SOURCE, TARGET)
    shapes = {name: tuple(weights.shape) for name, weights in maps.items()}
    assert shapes == {
        "encoder.0": (2, 4, 4),
        "decoder.0": (2, 5, 5),
        "cross.0": (2, 5, 4),
        "decoder.1": (2, 5, 5),
        "cross.1": (2, 5, 4),
    }
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(weights.shape[:2]))
    assert not maps["decoder.1"].triu(1).any()


@pytest.mark.parametrize("kernel", ["sdpa", "reference"])
def test_the_kernel_and_frozen_weights_change_no_map(tiny_model: Transformer, kernel: str) -> None:
    from transformer.model.attention import Attention
    from transformer.model.attention_kernels import KERNELS

    model = copy.deepcopy(tiny_model).float()
    expected = attention_maps(model, SOURCE, TARGET)
    for module in model.modules():
        if isinstance(module, Attention):
            module.kernel = KERNELS[kernel]
    prepack(model)
    for name, weights in attention_maps(model, SOURCE, TARGET).items():
        torch.testing.assert_close(weights, expected[name], rtol=1e-4, atol=1e-5)


@pytest.fixture
def attention(make_translator: Callable[..., Translator]) -> AttentionMaps:
    return make_translator().attention("the cat sees two dog", "a bird")


def test_layers_and_heads_are_the_maps_by_number(attention: AttentionMaps) -> None:
    source, target = len(attention.source), len(attention.target)
    assert attention.encoder.shape == (1, 2, source, source)
    assert attention.decoder.shape == (2, 2, target, target)
    assert attention.cross.shape == (2, 2, target, source)
    assert torch.equal(attention.cross[1], attention.maps["cross.1"])
    assert torch.equal(attention.decoder[0, 1], attention.maps["decoder.0"][1])


def test_json_is_pieces_and_rounded_weights(attention: AttentionMaps) -> None:
    content = json.loads(json.dumps(attention.to_json()))
    assert list(content) == ["source", "target", "maps"]
    assert content["source"][-1] == content["target"][-1] == "</s>"
    assert "".join(content["target"][:-1]) == "▁a▁bird"
    assert list(content["maps"]) == list(attention.maps)
    for name, weights in attention.maps.items():
        torch.testing.assert_close(torch.tensor(content["maps"][name]), weights, rtol=0, atol=5.1e-5)
        assert all(weight == round(weight, 4) for head in content["maps"][name] for row in head for weight in row)


@pytest.mark.parametrize(
    ("name", "head", "title"), [(None, None, "cross.0"), ("cross.1", 1, "cross.1.1"), ("decoder.0", None, "decoder.0")]
)
def test_a_plot_shows_the_weights_beside_their_pieces(
    attention: AttentionMaps, name: str | None, head: int | None, title: str
) -> None:
    axes = attention.plot(name, head).axes[0]
    weights = attention.maps[name or "cross.0"]
    drawn = torch.tensor(axes.images[0].get_array().data)
    torch.testing.assert_close(drawn, weights.mean(dim=0) if head is None else weights[head])
    columns = ["<s>", *attention.target[:-1]] if name == "decoder.0" else list(attention.source)
    assert [label.get_text() for label in axes.get_xticklabels()] == columns
    assert [label.get_text() for label in axes.get_yticklabels()] == list(attention.target)
    assert axes.get_title() == title


def test_a_map_that_is_not_there_is_refused(attention: AttentionMaps) -> None:
    with pytest.raises(ValueError, match=r"no map 'cross\.2'; there are encoder\.0, "):
        attention.plot("cross.2")
    with pytest.raises(ValueError, match=r"head 2: cross\.1 has heads 0 to 1"):
        attention.plot("cross.1", 2)


def test_without_matplotlib_a_plot_names_it(attention: AttentionMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="matplotlib is not installed; pip install matplotlib"):
        attention.plot()
