"""One update, what is told of it, and when training ends."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.data.batch import Batch, collate
from transformer.data.dataset import EncodedCorpus
from transformer.errors import UserError
from transformer.model.transformer import Transformer
from transformer.training.schedule import learning_rate
from transformer.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Scripted = Any  # the validation of conftest.py


def weights(model: Transformer) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def batches(corpus: EncodedCorpus, *groups: list[int]) -> list[Batch]:
    return [collate(corpus.sources(rows), corpus.targets(rows)) for rows in groups]


def with_sgd(trainer: Trainer) -> Trainer:
    """Plain gradient descent on float64 weights, which then show the gradient itself; Adam would rescale it."""
    trainer.model.double()
    trainer.updater.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    return trainer


class Given:
    """An update of given micro-batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.num_target_tokens = sum(batch.num_target_tokens for batch in batches)

    def micro_batches(self, halvings: int = 0) -> list[tuple[Batch, bool]]:
        assert halvings == 0, "memory suffices"
        return [(batch, True) for batch in self.batches]


def gradient_step(trainer: Trainer, micro_batches: list[Batch]) -> Tensor:
    before = weights(trainer.model)
    trainer.train_update(Given(micro_batches))
    return (before - weights(trainer.model)) / trainer.learning_rate(1)


def test_micro_batches_weigh_by_their_tokens(make_trainer: MakeTrainer, corpus: EncodedCorpus) -> None:
    """Unequal parts give the gradient and the loss of one batch, which a mean of means would not."""
    groups = ([0], [1, 2, 3, 4, 5, 6, 7], [8, 9])
    whole, split = (with_sgd(make_trainer()) for _ in range(2))
    one = gradient_step(whole, batches(corpus, list(range(10))))
    several = gradient_step(split, batches(corpus, *groups))
    torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-6)
    assert whole.interval.to_json()["target_tokens"] == split.interval.to_json()["target_tokens"]
    assert split.interval.to_json()["loss"] == pytest.approx(whole.interval.to_json()["loss"], rel=1e-6)
    lengths = [batch.num_target_tokens for batch in batches(corpus, *groups)]
    assert len(set(lengths)) == 3


def test_the_gradient_is_of_the_mean_over_target_tokens(make_trainer: MakeTrainer, corpus: EncodedCorpus) -> None:
    trainer = with_sgd(make_trainer("training.label_smoothing=0.2"))
    (batch,) = batches(corpus, [3, 4, 5])
    logits = trainer.model(batch.source_ids, batch.decoder_input_ids)
    loss = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=0, label_smoothing=0.2)
    expected = nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(trainer.model.parameters())))
    torch.testing.assert_close(gradient_step(trainer, [batch]), expected, rtol=1e-4, atol=1e-6)


def test_splitting_updates_changes_no_weights(make_trainer: MakeTrainer) -> None:
    """Adam with a large epsilon, so that rounding in tiny gradients is not blown up."""
    found = []
    for directory, limit in (("whole", "null"), ("split", "12")):
        micro = f"training.micro_batch_tokens={limit}"
        trainer = make_trainer(micro, "training.epsilon=0.01", directory=directory)
        trainer.fit()
        found.append((weights(trainer.model), [record["loss"] for record in trainer.listeners[0].of("train")]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_gradients_do_not_pile_up_over_updates(make_trainer: MakeTrainer, corpus: EncodedCorpus) -> None:
    trainer = with_sgd(make_trainer())
    (batch,) = batches(corpus, [0, 1])
    trainer.train_update(Given([batch]))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


@pytest.mark.parametrize("limit", [0.01, 1000.0])
def test_clipping_bounds_the_norm_of_the_whole_gradient(
    make_trainer: MakeTrainer, corpus: EncodedCorpus, limit: float
) -> None:
    micro_batches = batches(corpus, [0, 1], [2])
    free = gradient_step(with_sgd(make_trainer()), micro_batches)
    clipped = gradient_step(with_sgd(make_trainer(f"training.max_gradient_norm={limit}")), micro_batches)
    assert 0.01 < free.norm() < 1000
    torch.testing.assert_close(clipped, free * min(1.0, limit / float(free.norm())), rtol=1e-4, atol=1e-7)


def test_each_update_has_its_learning_rate(make_trainer: MakeTrainer) -> None:
    applied = []
    trainer = make_trainer(
        advance=lambda: applied.append([group["lr"] for group in trainer.updater.optimizer.param_groups])
    )
    trainer.fit()
    expected = [learning_rate(trainer.options, 16, update) for update in range(1, 7)]
    assert applied == [[rate, rate] for rate in expected]
    assert len(set(expected)) > 3


def test_training_lowers_the_loss_of_a_corpus_small_enough_to_learn(make_trainer: MakeTrainer) -> None:
    options = ["training.schedule=constant", "training.learning_rate=0.01", "training.label_smoothing=0"]
    trainer = make_trainer(*options, "training.max_updates=120", "validation.every=120")
    trainer.fit()
    losses = [record["loss"] for record in trainer.listeners[0].of("train")]
    assert losses[-1] < 0.7 * losses[0]


def test_dropout_is_on_again_after_a_validation(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    validate = scripted(1.0)
    trainer = make_trainer("model.dropout=0.5", validate=validate)
    modes: list[bool] = []
    trainer.advance = lambda: modes.append(trainer.model.training)
    trainer.fit()
    assert modes == [True] * 6
    assert trainer.listeners[0].validated() == [2, 4, 6]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(make_trainer: MakeTrainer) -> None:
    def trained(directory: str, seed: int) -> Tensor:
        trainer = make_trainer("model.dropout=0.3", directory=directory, seed=seed)
        trainer.fit()
        return weights(trainer.model)

    assert torch.equal(trained("first", 7), trained("second", 7))
    assert not torch.equal(trained("third", 8), trained("first again", 7))


def test_what_a_train_record_says(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("training.max_updates=8", "training.log_every=3")
    tokens: list[int] = []
    losses: list[float] = []
    trainer.advance = lambda: (tokens.append(trainer.state.target_tokens), losses.append(interval_loss(trainer)))
    trainer.fit()
    records = trainer.listeners[0].of("train")
    assert [record["update"] for record in records] == [3, 6]
    for record, before in zip(records, (0, 3), strict=True):
        last = before + 2
        assert record["target_tokens"] == tokens[last]
        assert record["learning_rate"] == trainer.learning_rate(last + 1)
        interval_tokens = tokens[last] - (tokens[before - 1] if before else 0)
        assert record["loss"] == pytest.approx(losses[last] / interval_tokens)
        assert 1 < record["perplexity"] < 200
        assert 0 < record["padding_share"] < 1
        assert record["target_tokens_per_second"] > 0
        done = record["update"] / 8
        assert record["seconds_left"] == pytest.approx(record["seconds"] * (1 - done) / done)


def test_the_time_left_counts_parts_of_a_pass(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("training.max_updates=1000", "training.max_epochs=2", "training.log_every=1")
    trainer.fit()
    records = trainer.listeners[0].of("train")
    for record in records[:-1]:
        done = record["update"] / len(records)  # both passes have as many updates
        assert record["seconds_left"] == pytest.approx(record["seconds"] * (1 - done) / done)
    assert records[-1]["seconds_left"] == 0


def interval_loss(trainer: Trainer) -> float:
    return trainer.interval.to_json()["loss"]


def test_the_stream_is_followed_over_the_ends_of_epochs(make_trainer: MakeTrainer, corpus: EncodedCorpus) -> None:
    trainer = make_trainer("training.max_updates=1000", "training.max_epochs=2", "validation.every=1000")
    assert trainer.fit().reason == "limit"
    assert (trainer.state.epoch, trainer.state.batch) == (2, 0)
    assert trainer.state.target_tokens == 2 * (int(corpus.target_lengths.sum()) + len(corpus))


def test_max_updates(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("training.max_updates=5")
    assert trainer.fit().reason == "limit"
    assert trainer.state.update == 5


def test_max_minutes_counts_the_runs_whole_time(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("training.max_minutes=1", "training.max_updates=100")
    trainer.state.seconds = 25.0  # of an earlier part of the run

    def twenty_seconds_later() -> None:
        trainer.state.seconds += 20

    trainer.advance = twenty_seconds_later
    assert trainer.fit().reason == "limit"
    assert trainer.state.update == 2
    assert trainer.run.updates() == [2]


@pytest.mark.parametrize("averaged", [0, 2])
def test_a_finished_run_does_nothing_again(make_trainer: MakeTrainer, scripted: Scripted, averaged: int) -> None:
    average = f"training.average_checkpoints={averaged}"
    first = make_trainer(average, validate=scripted(3.0, 3.0, 3.0, 2.0))
    first.fit()
    validate = scripted(1.0)
    again = make_trainer(average, validate=validate)
    assert again.fit().reason == "limit"
    assert again.state.update == 6
    assert not again.listeners[0]
    assert not validate.asked
    assert again.run.pointed("best") == ("averaged" if averaged else "00000002")


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_weights_that_are_no_numbers_with_nothing_to_go_back_to_end_training_with_advice(
    make_trainer: MakeTrainer, poison: float
) -> None:
    trainer = make_trainer("training.max_skipped_updates=2", "validation.every=6")

    def break_model() -> None:
        if trainer.state.update == 2:
            nn.init.constant_(trainer.model.output.weight, poison)

    trainer.advance = break_model
    with pytest.raises(UserError, match=r"update 4: .*not finite, and there is no checkpoint.*learning_rate.*max_grad"):
        trainer.fit()


@pytest.mark.parametrize("every", [["validation.every=2"], ["validation.every=100", "training.checkpoint_every=2"]])
def test_a_broken_model_is_never_saved(make_trainer: MakeTrainer, scripted: Scripted, every: list[str]) -> None:
    """Nor is it validated, for a search among probabilities that are no numbers finds nothing."""
    validate = scripted(1.0)
    options = ["training.log_every=100", "training.keep_checkpoints=1", "training.max_rewinds=1"]
    trainer = make_trainer(*options, *every, validate=validate)

    def break_model() -> None:
        if trainer.state.update == 3:
            nn.init.constant_(trainer.model.decoder.layers[0].feed_forward.expand.bias, math.nan)

    trainer.advance = break_model
    with pytest.raises(UserError, match="update 4: gradients or weights are not finite, after 1 rewinds"):
        trainer.fit()
    assert trainer.run.updates() == [2]
    assert set(trainer.listeners[0].validated()) <= {2}
    assert validate.asked == len(trainer.listeners[0].validated())


def test_it_trains_in_a_thread_as_in_the_main_one(make_trainer: MakeTrainer) -> None:
    """As from a notebook's worker or a service; signals keep going to the main thread."""
    expected = make_trainer("model.dropout=0.3", directory="main")
    expected.fit()
    trainer = make_trainer("model.dropout=0.3", directory="thread")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(trainer.fit).result().reason == "limit"
    assert torch.equal(weights(trainer.model), weights(expected.model))
    assert trainer.run.updates() == expected.run.updates()
