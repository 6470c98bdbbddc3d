"""What training measures is what the tools measure afterwards."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import sacrebleu

from transformer import load
from transformer.config import load_config
from transformer.data.prepare import prepare
from transformer.run.state import TrainingState
from transformer.runtime.distributed import Processes
from transformer.runtime.reporting import SilentReporter
from transformer.tasks.assembly import build_stream
from transformer.tasks.validation import Validation


def validation(run: Path, *overrides: str) -> Validation:
    config = load_config(run, overrides)
    prepared = prepare(config, SilentReporter())
    return Validation(config, prepared, build_stream(config, prepared, TrainingState(), Processes()))


def read(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_the_loss_is_the_mean_negative_log_likelihood_of_a_token(tiny_run: Path, tiny_project: Path) -> None:
    translator = load(tiny_run)
    scored = translator.score(read(tiny_project / "validation.de"), read(tiny_project / "validation.en"))
    expected = -sum(each.log_prob for each in scored) / sum(len(each.ids) + 1 for each in scored)
    metrics = validation(tiny_run)(translator.model)
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(expected), rel=1e-4)


def test_the_loss_does_not_depend_on_the_batches(tiny_run: Path) -> None:
    model = load(tiny_run).model
    whole = validation(tiny_run).loss(model)
    for override in ("training.batch_tokens=7", "training.micro_batch_tokens=9"):
        assert validation(tiny_run, override).loss(model) == pytest.approx(
            whole, rel=1e-5
        )  # sums of fp32 in other order


def test_the_loss_keeps_a_bound_that_was_found_later(tiny_run: Path) -> None:
    sizes: list[int] = []
    measured = validation(tiny_run, "training.micro_batch_tokens=auto")
    model = load(tiny_run).model
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].numel()))
    whole = measured.loss(model)
    largest, measured.stream.micro_batch_tokens = max(sizes), max(sizes) // 2
    sizes.clear()
    assert measured.loss(model) == pytest.approx(whole, rel=1e-5)
    assert max(sizes) <= largest // 2


def test_bleu_and_chrf_are_those_of_the_translations(tiny_run: Path, tiny_project: Path) -> None:
    translator = load(tiny_run)
    hypotheses = translator.translate(read(tiny_project / "validation.de"))
    references = [read(tiny_project / "validation.en")]
    metrics = validation(tiny_run)(translator.model)
    assert metrics["bleu"] == pytest.approx(sacrebleu.corpus_bleu(hypotheses, references).score)
    assert metrics["chrf"] == pytest.approx(sacrebleu.corpus_chrf(hypotheses, references, word_order=2).score)


@pytest.mark.parametrize("overrides", [
    ("decoding.method=sample", "decoding.n_best=7"),
    ("decoding.rerank=mbr", "decoding.n_best=2"),
    ("decoding.ensemble=[absent]",),
    ("decoding.line_fields=terms",),
])  # fmt: skip
def test_it_is_by_plain_beam_search_whatever_the_run_will_be_used_with(
    tiny_run: Path, overrides: tuple[str, ...]
) -> None:
    model = load(tiny_run).model
    assert validation(tiny_run, *overrides)(model) == validation(tiny_run)(model)


def test_max_sentences_limits_the_translations_but_not_the_loss(tiny_run: Path) -> None:
    model = load(tiny_run).model
    whole, none = validation(tiny_run), validation(tiny_run, "validation.max_sentences=0")
    assert len(validation(tiny_run, "validation.max_sentences=5").pairs) == 5
    assert none(model) == {name: value for name, value in whole(model).items() if name in ("loss", "perplexity")}
