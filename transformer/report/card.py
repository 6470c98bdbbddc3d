"""A run's card: its data, training, scores and limits.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting", as far as a run knows them; facts that were
not recorded are marked unknown.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from transformer.config import Config, CorpusSection
from transformer.reading import JsonObject
from transformer.run.evaluations import Evaluation, evenly_spaced
from transformer.runtime.records import Record, number, points

FORMAT_VERSION = 1
SAMPLES = 10
_CURVE_POINTS = 200  # of the training loss; all validations are kept
_OF_EVALUATION = ("name", "written", "corpus", "corpus_sha256", "checkpoint", "decoding", "sentences", "scores")


def card_of(
    name: str,
    config: Config,
    manifest: JsonObject,
    records: Sequence[Record],
    evaluations: Sequence[Evaluation],
    parameters: int,
) -> JsonObject:
    """The content of `card.json`.

    Args:
        manifest: content of the run's `manifest.json`.
        records: content of its `metrics.jsonl`.
        evaluations: oldest first.
        parameters: number of the model's parameters.
    """
    return {
        "format_version": FORMAT_VERSION,
        "run": name,
        "transformer": manifest.get("transformer"),
        "seed": manifest.get("seed"),
        "environment": _mapping(manifest.get("environment")),
        "parameters": parameters,
        "data": _data(config, manifest),
        "training": _training(config, records),
        "evaluations": [{name: getattr(each, name) for name in _OF_EVALUATION} for each in evaluations],
        "samples": _samples(evaluations[-1]) if evaluations else [],
        "limits": _limits(config, manifest),
        "config": config.model_dump(mode="json"),
    }


def _data(config: Config, manifest: JsonObject) -> JsonObject:
    data = _mapping(manifest.get("data"))
    hashes = _mapping(_mapping(data.get("inputs")).get("corpora"))
    hashed = data.get("tokenizer_sha256")
    return {
        "source_language": config.data.source_language,
        "target_language": config.data.target_language,
        "licence": config.data.licence,
        "corpora": {split: list(map(corpus_name, getattr(config.data, split))) for split in ("train", "validation")},
        "sha256": {split: list(map(_mapping, held)) for split, held in hashes.items() if isinstance(held, list)},
        "counts": {split: _mapping(counts) for split, counts in _mapping(data.get("counts")).items()},
        "vocab_size": _mapping(data.get("vocab_size")),
        "tokenizer_sha256": list(map(str, hashed)) if isinstance(hashed, list) else [],
    }


def _mapping(value: object) -> JsonObject:
    """A part of the manifest, empty if it is not an object: a bad manifest must not prevent a card."""
    return value if isinstance(value, dict) else {}


def corpus_name(corpus: CorpusSection) -> str:
    """The path of a corpus, or its name on the hub."""
    if corpus.hub is not None:
        return "/".join(filter(None, (corpus.hub, corpus.hub_config, corpus.hub_split)))
    return corpus.table or f"{corpus.source}, {corpus.target}"


def _training(config: Config, records: Sequence[Record]) -> JsonObject:
    counted = [record for record in records if record.get("kind") in ("train", "validation")]
    last = counted[-1] if counted else {}
    speeds = [speed for _, speed in points(records, "train", "update", "target_tokens_per_second")]
    losses = points(records, "train", "update", "loss")
    return {
        "updates": int(number(last, "update") or 0),
        "max_updates": config.training.max_updates,
        "epochs": int(number(last, "epoch") or 0),
        "target_tokens": int(number(last, "target_tokens") or 0),
        "seconds": number(last, "seconds") or 0.0,
        "target_tokens_per_second": statistics.median(speeds) if speeds else None,
        "faults": sum(record.get("kind") == "fault" for record in records),
        "loss": [losses[place] for place in evenly_spaced(len(losses), _CURVE_POINTS)],
        "validations": [dict(record) for record in records if record.get("kind") == "validation"],
    }


def _samples(evaluation: Evaluation) -> list[dict[str, str]]:
    sides = zip(evaluation.sources, evaluation.references, evaluation.hypotheses, strict=True)
    samples = [dict(zip(("source", "reference", "translation"), each, strict=True)) for each in sides]
    return [samples[place] for place in evenly_spaced(len(samples), SAMPLES)]


def _limits(config: Config, manifest: JsonObject) -> list[str]:
    """What follows from the training, and what was not examined."""
    data = config.data
    pairs = _mapping(_data(config, manifest)["counts"].get("train")).get("kept")
    count = f"{pairs:,}" if isinstance(pairs, int) else "an unknown number of"
    return [
        f"It was trained on {count} sentence pairs from {data.source_language} to {data.target_language}. Expect worse "
        "translations on other subjects, styles and spellings.",
        "It translates sentence by sentence, without context. Training left out pairs with more than "
        f"{data.max_length} tokens on a side.",
        "It may omit, add or reverse the meaning of a sentence in fluent words, without any warning.",
        "Names, numbers, bias and harmful content were not examined.",
        "Do not use it where a wrong translation does harm, such as in medicine, law or safety, unless a person who "
        "reads both languages checks it.",
        f"The scores come from a single training (seed {config.run.seed}); other seeds give other scores.",
    ]
