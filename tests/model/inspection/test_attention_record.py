"""Attention weights that a call is asked for."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from transformer.model.inspection.attention_record import AttentionRecord
from transformer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0]])
TARGET_IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 0]])


def recorded(
    model: Transformer, source_ids: Tensor, target_ids: Tensor, record: AttentionRecord
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """The decoder's hidden states and the record's maps."""
    encoder_output = model.encode(source_ids, record=record)
    return model.decode(target_ids, encoder_output, record=record), record.maps


def test_the_weights_of_every_attention(make_model: MakeModel) -> None:
    _, maps = recorded(make_model(), SOURCE_IDS, TARGET_IDS, AttentionRecord())
    shapes = {"encoder": (2, 4, 5, 5), "decoder": (2, 4, 4, 4), "cross": (2, 4, 4, 5)}
    assert {name: tuple(weights.shape) for name, (weights,) in maps.items()} == {
        f"{kind}.{layer}": shape for kind, shape in shapes.items() for layer in (0, 1)
    }
    for name, (weights,) in maps.items():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1], dtype=torch.float64))
        if name.startswith("decoder"):
            assert (weights.triu(1) == 0).all()
            assert (weights.tril() > 0).sum() == 2 * 4 * 10
        else:
            assert (weights[1, :, :, 3:] == 0).all()
            assert (weights[0] > 0).all()


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
def test_recording_changes_no_output_and_keeps_no_graph(make_model: MakeModel, kernel: str) -> None:
    model, record = make_model(attention_kernel=kernel), AttentionRecord()
    plain = model.decode(TARGET_IDS, model.encode(SOURCE_IDS))
    first, _ = recorded(model, SOURCE_IDS, TARGET_IDS, record)
    recorded(model, SOURCE_IDS, TARGET_IDS, record)
    torch.testing.assert_close(first, plain, rtol=1e-10, atol=1e-10)
    assert len(record.maps) == 6
    for calls in record.maps.values():
        assert len(calls) == 2
        assert not calls[0].requires_grad
    model(SOURCE_IDS, TARGET_IDS)  # asks for nothing
    assert all(len(calls) == 2 for calls in record.maps.values())


def test_only_what_is_asked_for(make_model: MakeModel) -> None:
    model = make_model()
    _, everything = recorded(model, SOURCE_IDS, TARGET_IDS, AttentionRecord())
    _, maps = recorded(model, SOURCE_IDS, TARGET_IDS, AttentionRecord({"cross.1", "encoder.0"}))
    assert maps.keys() == {"encoder.0", "cross.1"}
    for name, (weights,) in maps.items():
        torch.testing.assert_close(weights, everything[name][0], rtol=1e-10, atol=1e-10)


def test_a_layer_without_attention_has_no_map(make_model: MakeModel) -> None:
    _, maps = recorded(make_model(decoder_self_attention="ssru"), SOURCE_IDS, TARGET_IDS, AttentionRecord())
    assert maps.keys() == {f"{kind}.{layer}" for kind in ("encoder", "cross") for layer in (0, 1)}


def test_a_step_of_decoding_is_recorded_too(make_model: MakeModel) -> None:
    model, record = make_model(), AttentionRecord({"cross.0"})
    encoder_output, cache = model.encode(SOURCE_IDS), model.new_cache()
    for position in range(4):
        model.decode(TARGET_IDS[:, position, None], encoder_output, cache, record=record)
    whole = AttentionRecord({"cross.0"})
    model.decode(TARGET_IDS, encoder_output, record=whole)
    torch.testing.assert_close(torch.cat(record.maps["cross.0"], dim=2), whole.maps["cross.0"][0])


def test_threads_that_record_at_once_get_their_own_maps(make_model: MakeModel) -> None:
    """Both are inside the model at the same time: in each encoder layer, the one waits for the other."""
    model = make_model()
    batches = [(SOURCE_IDS, TARGET_IDS), (SOURCE_IDS.flip(1)[:, :4], TARGET_IDS[:, :3])]
    alone = [recorded(model, *batch, AttentionRecord())[1] for batch in batches]
    meeting, together = threading.Barrier(2, timeout=60), dict[int, dict[str, list[Tensor]]]()

    def wait(*_: object) -> None:
        meeting.wait()

    for layer in model.encoder.layers:
        layer.register_forward_pre_hook(wait)

    def work(number: int) -> None:
        together[number] = recorded(model, *batches[number], AttentionRecord())[1]

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, expected in enumerate(alone):
        assert together[number].keys() == expected.keys()
        for name, (weights,) in together[number].items():
            torch.testing.assert_close(weights, expected[name][0], rtol=1e-10, atol=1e-10)
