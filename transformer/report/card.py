"""A run's card: what it was trained on, how, what came of it, and what it is not for.

It follows the sections of Mitchell et al. 2019, "Model Cards for Model Reporting", as far as a run can know them. What
was not recorded is said to be unknown.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from transformer.config import Config, CorpusSection
from transformer.run.evaluations import Evaluation, evenly_spaced
from transformer.runtime.records import Record, number, points

FORMAT_VERSION = 1
SAMPLES = 10
_CURVE_POINTS = 200  # of the training loss; validations are all there


def card_of(
    name: str,
    config: Config,
    manifest: Mapping[str, Any],
    records: Sequence[Record],
    evaluations: Sequence[Evaluation],
    parameters: int,
) -> dict[str, Any]:
    """What `card.json` holds.

    Args:
        name: of the run.
        config: resolved.
        manifest: of the run; `manifest.json`.
        records: of its metrics.
        evaluations: the latest last.
        parameters: of its model.
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
        "evaluations": [_evaluation(each) for each in evaluations],
        "samples": _samples(evaluations[-1]) if evaluations else [],
        "limits": _limits(config, manifest),
        "config": config.model_dump(mode="json"),
    }


def _data(config: Config, manifest: Mapping[str, Any]) -> dict[str, Any]:
    data = _mapping(manifest.get("data"))
    hashes = _mapping(_mapping(data.get("inputs")).get("corpora"))
    hashed = data.get("tokenizer_sha256")
    return {
        "source_language": config.data.source_language,
        "target_language": config.data.target_language,
        "licence": config.data.licence,
        "corpora": {split: list(map(corpus_name, getattr(config.data, split))) for split in ("train", "validation")},
        "sha256": {
            split: [_mapping(each) for each in held] for split, held in hashes.items() if isinstance(held, list)
        },
        "counts": {split: _mapping(counts) for split, counts in _mapping(data.get("counts")).items()},
        "vocab_size": _mapping(data.get("vocab_size")),
        "tokenizer_sha256": list(map(str, hashed)) if isinstance(hashed, list) else [],
    }


def _mapping(value: object) -> dict[str, Any]:
    """A part of the manifest, empty where it is none: a card does not fail for what others wrote."""
    return value if isinstance(value, dict) else {}


def corpus_name(corpus: CorpusSection) -> str:
    """What a corpus is called where it lies."""
    if corpus.hub is not None:
        return "/".join(filter(None, (corpus.hub, corpus.hub_config, corpus.hub_split)))
    return corpus.table or f"{corpus.source}, {corpus.target}"


def _training(config: Config, records: Sequence[Record]) -> dict[str, Any]:
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


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    kept = ("name", "written", "corpus", "corpus_sha256", "checkpoint", "decoding", "sentences", "scores")
    return {name: getattr(evaluation, name) for name in kept}


def _samples(evaluation: Evaluation) -> list[dict[str, str]]:
    sides = evaluation.sources, evaluation.references, evaluation.hypotheses
    return [
        dict(zip(("source", "reference", "translation"), (side[place] for side in sides), strict=True))
        for place in evenly_spaced(len(evaluation.rows), SAMPLES)
    ]


def _limits(config: Config, manifest: Mapping[str, Any]) -> list[str]:
    """What follows from how it was trained, and what nobody looked at."""
    data = config.data
    pairs = _mapping(_data(config, manifest)["counts"].get("train")).get("kept")
    count = f"{pairs:,}" if isinstance(pairs, int) else "an unknown number of"
    return [
        f"It saw {count} sentence pairs and knows {data.source_language} to {data.target_language} as they are in "
        "them; other subjects, styles and spellings come out worse.",
        f"It translates sentence by sentence, without context; pairs of more than {data.max_length} tokens on a side "
        "were left out of training.",
        "It may leave out, add or turn around what a sentence says, in fluent words. Nothing tells when it does.",
        "Names, numbers, bias and harmful content were not examined.",
        "It is not for use where a wrong translation harms somebody, such as medicine, law or safety, without a "
        "person who reads both languages.",
        f"The scores are of one training (seed {config.run.seed}); another seed gives others.",
    ]
