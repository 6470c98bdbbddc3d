"""`decoding.rerank` from the command line, and `transformer tune`, with a run in the other direction."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from transformer import load
from transformer.cli import main
from transformer.tasks.tune import best_weights, ranked_first


@pytest.fixture(scope="module")
def reverse_run(tiny_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English to German, hardly trained."""
    folder = tmp_path_factory.mktemp("reverse")
    text = (tiny_project / "config.yaml").read_text("utf-8").replace(f"{tiny_project}/run", f"{folder}/run")
    text = text.replace(f"{tiny_project}/prepared", f"{folder}/prepared")
    for one, other in (("source_language: de", "source_language: en"), ("target_language: en", "target_language: de")):
        text = text.replace(one, other)
    text = re.sub(r"source: (\S+)\.de, target: (\S+)\.en", r"source: \1.en, target: \2.de", text)
    (folder / "config.yaml").write_text(text, "utf-8")
    options = (
        "training.max_updates=10",
        "validation.every=10",
        "training.average_checkpoints=0",
        "run.preflight=false",
    )
    assert main(["train", str(folder / "config.yaml"), *options]) == 0
    return folder / "run"


@pytest.mark.parametrize("options", [
    ("decoding.rerank=mbr", "decoding.beam_size=4", "decoding.mbr_utility=bleu"),
    ("decoding.rerank=mbr", "decoding.method=sample", "decoding.candidates=6", "decoding.epsilon=0.02"),
])  # fmt: skip
def test_minimum_bayes_risk(
    output: Callable[..., str], tiny_run: Path, tiny_project: Path, options: tuple[str, ...]
) -> None:
    sources = (tiny_project / "test.de").read_text("utf-8").splitlines()
    lines = output("translate", tiny_run, *options, "decoding.n_best=2", *sources).splitlines()
    scores = [float(line.split("\t")[2]) for line in lines]
    assert all(0 <= score <= 100 for score in scores)
    assert max(scores) > 10
    best = [line.split("\t")[3] for line in lines if line.split("\t")[1] == "1"]
    assert load(tiny_run, *options).translate(sources) == best
    assert "BLEU" in output("evaluate", tiny_run, *options)


def test_noisy_channel(output: Callable[..., str], tiny_run: Path, reverse_run: Path, tiny_project: Path) -> None:
    sources = (tiny_project / "test.de").read_text("utf-8").splitlines()
    options = ("decoding.rerank=noisy_channel", f"decoding.reverse={reverse_run}", "decoding.n_best=2")
    weights = ("decoding.channel_weight=0.5", "decoding.length_weight=0.25")
    found = load(tiny_run, *options, *weights).translate_n_best(sources)
    reverse = load(reverse_run)
    for source, best in zip(sources, found, strict=True):
        for each in best:
            (channel,) = reverse.score([each.text], [source])
            expected = each.log_prob + 0.5 * channel.log_prob + 0.25 * (len(each.ids) + 1)
            assert each.score == pytest.approx(expected, abs=1e-3)
    lines = output("translate", tiny_run, *options, *weights, *sources).splitlines()
    assert [line.split("\t")[3] for line in lines] == [each.text for best in found for each in best]


def test_tuning_names_the_best_options(
    output: Callable[..., str], tiny_run: Path, reverse_run: Path, tiny_project: Path
) -> None:
    shape = ("decoding.beam_size=4", "decoding.gnmt_length_penalty=0")
    text = output("tune", tiny_run, f"decoding.reverse={reverse_run}", *shape)
    first, alone, best, options = text.splitlines()
    assert first == "validation: 12 sentences, beam 4, noisy_channel among 4"
    figures = [float(re.fullmatch(r"BLEU (\S+)  nrefs:1\S+  by .*", line)[1]) for line in (alone, best)]  # type: ignore[index]
    assert figures[1] >= figures[0]  # the grid holds the search's own order
    beam = ("--split", "validation", "--resamples", "0", *shape)
    assert output("evaluate", tiny_run, *beam).splitlines()[1] == alone.split("  by")[0]
    assert output("evaluate", tiny_run, *beam, *options.split()).splitlines()[1] == best.split("  by")[0]


def test_the_grid_is_searched() -> None:
    """Two sentences whose second candidate wins only with some weight of the channel and a reward for length."""
    features = np.array([[[-1.0, -3.0], [-1.0, -1.9]], [[-9.0, -8.0], [-9.0, -9.0]], [[4.0, 5.0], [4.0, 6.0]]])
    weights = best_weights(features, lambda chosen: float(chosen.sum()))
    assert ranked_first(features, *weights).tolist() == [1, 1]
    assert ranked_first(features, 0.0, 0.0).tolist() == [0, 0]
    assert best_weights(features, lambda chosen: float(-chosen.sum())) == (0.0, 0.0)


def test_refusals(refusal: Callable[..., str], tiny_run: Path, reverse_run: Path, tmp_path: Path) -> None:
    channel = "decoding.rerank=noisy_channel"
    assert "needs reverse" in refusal("translate", tiny_run, channel, "Hund")
    assert "reverse is for rerank: noisy_channel, and rerank is none" in refusal(
        "translate", tiny_run, f"decoding.reverse={reverse_run}", "Hund"
    )
    message = refusal("translate", tiny_run, channel, f"decoding.reverse={tiny_run}", "Hund")
    assert f"{tiny_run} translates from de to en; give a run from en to de" in message
    assert "no such run" in refusal("tune", tiny_run, f"decoding.reverse={tmp_path / 'absent'}")
    assert "needs reverse" in refusal("tune", tiny_run)
    assert "names no such corpus" in refusal(
        "tune", tiny_run, f"decoding.reverse={reverse_run}", "data.test=[]", "--split", "test"
    )
