"""Decoding token by token with a cache gives what decoding whole prefixes without one gives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from transformer.model.cache import DecoderCache, LayerCache, SelfAttentionCache
from transformer.model.transformer import EncoderOutput, Transformer

MakeModel = Callable[..., Transformer]
SOURCE_IDS = torch.tensor([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0], [6, 6, 6, 3, 0]])


def stepwise(model: Transformer, target_ids: Tensor, encoded: EncoderOutput, cache: DecoderCache) -> Tensor:
    """Hidden states (N, T, D) of tokens fed one by one."""
    return torch.cat([model.decode(token, encoded, cache) for token in target_ids.split(1, dim=1)], dim=1)


def rows_of(encoded: EncoderOutput, sentences: Tensor) -> EncoderOutput:
    """The source of each row, copied: what sharing must be equal to."""
    return EncoderOutput(encoded.hidden[sentences], encoded.source_mask[sentences])


def assert_same(cached: Tensor, whole: Tensor) -> None:
    torch.testing.assert_close(cached, whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("rows", [1, 3])
def test_token_by_token_is_the_whole(make_model: MakeModel, norm: str, kernel: str, rows: int) -> None:
    """40 tokens: the buffers grow past 16 and past 32 tokens of each beam."""
    model = make_model(norm=norm, attention_kernel=kernel)
    encoded = model.encode(SOURCE_IDS)
    target_ids = torch.randint(4, 20, (3 * rows, 40))
    cache = model.new_cache()
    cached = stepwise(model, target_ids, encoded, cache)
    assert_same(cached, model.decode(target_ids, rows_of(encoded, torch.arange(3).repeat_interleave(rows))))
    assert cache.length == 40


@pytest.mark.parametrize("at", [1, 16, 20])
def test_rows_change_places(make_model: MakeModel, at: int) -> None:
    model = make_model()
    encoded, cache = model.encode(SOURCE_IDS), model.new_cache()
    begin, go_on = torch.randint(4, 20, (6, at)), torch.randint(4, 20, (6, 4))
    stepwise(model, begin, encoded, cache)
    order = torch.tensor([1, 1, 3, 2, 4, 4])  # two rows a sentence; some beams die, some split
    cache.reorder(order)
    cached = stepwise(model, go_on, encoded, cache)
    sources = rows_of(encoded, torch.arange(3).repeat_interleave(2))
    assert_same(cached, model.decode(torch.cat([begin[order], go_on], dim=1), sources)[:, at:])


@pytest.mark.parametrize("stay", [[0, 2], [1], [2]])
def test_sentences_leave(make_model: MakeModel, stay: list[int]) -> None:
    model = make_model()
    encoded, cache = model.encode(SOURCE_IDS), model.new_cache()
    begin = torch.randint(4, 20, (6, 3))
    stepwise(model, begin, encoded, cache)
    sentences = torch.tensor(stay)
    order = torch.cat([torch.tensor([2 * sentence + 1, 2 * sentence]) for sentence in stay])
    cache.reorder(order, sentences)
    go_on = torch.randint(4, 20, (len(order), 3))
    cached = stepwise(model, go_on, encoded.select(sentences), cache)
    sources = rows_of(encoded, sentences.repeat_interleave(2))
    assert_same(cached, model.decode(torch.cat([begin[order], go_on], dim=1), sources)[:, 3:])


def test_source_is_kept_once_a_sentence_and_computed_once(make_model: MakeModel) -> None:
    model = make_model()
    encoded, cache = model.encode(SOURCE_IDS), model.new_cache()
    model.decode(torch.randint(4, 20, (6, 1)), encoded, cache)
    kept = cache.layers[1].cross_attention.keys
    assert kept is not None
    assert kept.shape == (3, 4, 5, 4)
    model.decode(torch.randint(4, 20, (6, 1)), encoded, cache)
    assert cache.layers[1].cross_attention.keys is kept


def test_buffers_grow_by_doubling_and_keep_what_they_hold() -> None:
    cache, keys, values = SelfAttentionCache(), torch.randn(2, 3, 70, 4), torch.randn(2, 3, 70, 4)
    sizes = set()
    for end in range(1, 71):
        new = slice(end - 1, end)
        all_keys, all_values = cache.append(keys[:, :, new], values[:, :, new])
        assert all_keys.shape[2] == all_values.shape[2] == -(-end // 32) * 32
        assert torch.equal(all_keys[:, :, :end], keys[:, :, :end])
        assert torch.equal(all_values[:, :, :end], values[:, :, :end])
        assert not all_keys[:, :, end:].any()
        assert not all_values[:, :, end:].any()
        assert cache.keys is not None
        sizes.add(cache.keys.shape[3])
    assert sizes == {32, 64, 128}


def test_several_tokens_at_once_need_no_special_case() -> None:
    cache, keys = SelfAttentionCache(), torch.randn(1, 1, 60, 2)
    cache.append(keys[:, :, :3], keys[:, :, :3])
    appended, _ = cache.append(keys[:, :, 3:], keys[:, :, 3:])
    assert torch.equal(appended[:, :, :60], keys)


def test_reordering_an_empty_cache_does_nothing() -> None:
    cache = DecoderCache([LayerCache(SelfAttentionCache())])
    cache.reorder(torch.tensor([0]), torch.tensor([0]))
    assert cache.length == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_all_rows_of_a_sentence_go_on_from_its_one_beginning(make_model: MakeModel, rows: int) -> None:
    """The first step has one row a sentence; 25 steps of three rows fill the mask twice over."""
    model = make_model()
    encoded, cache = model.encode(SOURCE_IDS), model.new_cache()
    begin, go_on = torch.randint(4, 20, (3, 1)), torch.randint(4, 20, (3 * rows, 25))
    stepwise(model, begin, encoded, cache)
    sentences = torch.arange(3).repeat_interleave(rows)
    cache.reorder(sentences)
    cached = stepwise(model, go_on, encoded, cache)
    whole = model.decode(torch.cat([begin[sentences], go_on], dim=1), rows_of(encoded, sentences))
    assert_same(cached, whole[:, 1:])
