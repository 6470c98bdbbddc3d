"""A run's card as Markdown. Sentences go into fenced blocks, so that nothing in them acts as markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from transformer.reading import JsonObject
from transformer.run.evaluations import evenly_spaced
from transformer.runtime.records import number

_CURVE_ROWS = 30
_METRICS = {"loss": "loss", "perplexity": "perplexity", "bleu": "BLEU", "chrf": "chrF2++"}
_MARKS = re.compile(r"([\\`*_{}\[\]<>|#!~&])")


def card_text(card: JsonObject) -> str:
    """The Markdown of a card by `card_of`."""
    parts = [_head, _data, _training, _evaluations, _samples, _limits, _config]
    return "\n\n".join("\n".join(part(card)) for part in parts) + "\n"


def value_text(score: JsonObject) -> str:
    """`38.45 (μ = 38.43 ± 1.21)`: a score with its 95 % interval, if it has one."""
    mean, half_width = number(score, "bootstrap_mean"), number(score, "bootstrap_half_width")
    measured = mean is not None and half_width is not None
    return f"{score['value']:.2f}" + (f" (μ = {mean:.2f} ± {half_width:.2f})" if measured else "")


def _head(card: JsonObject) -> Iterator[str]:
    data, environment = card["data"], card["environment"]
    yield f"# {plain(card['run'])}: {plain(data['source_language'])} → {plain(data['target_language'])}"
    yield ""
    yield f"An encoder-decoder Transformer of {card['parameters']:,} parameters, trained with transformer "
    yield f"{plain(card['transformer'])}, seed {plain(card['seed'])}."
    yield ""
    for name, value in environment.items():
        shown = ", ".join(f"{key} {version}" for key, version in value.items()) if isinstance(value, dict) else value
        yield f"- {plain(name)}: {plain(shown)}"


def _data(card: JsonObject) -> Iterator[str]:
    data = card["data"]
    yield "## Data\n"
    yield f"Licence: {plain(data['licence'] or 'the config does not say (data.licence)')}\n"
    for split, names in data["corpora"].items():
        counts = data["counts"].get(split, {})
        tokens = f"{_count(counts, 'source_tokens')} source and {_count(counts, 'target_tokens')} target tokens"
        yield f"- {split}: {_count(counts, 'kept')} of {_count(counts, 'read')} pairs, {tokens}"
        hashes = data["sha256"].get(split, [])
        for place, name in enumerate(names):
            yield f"  - {plain(name)}"
            held = hashes[place] if place < len(hashes) else {}
            yield from (f"    - {plain(side)}: `{plain(value)}`" for side, value in held.items())
    yield f"- tokenizer: {', '.join(f'`{plain(each)}`' for each in dict.fromkeys(data['tokenizer_sha256']))}"


def _training(card: JsonObject) -> Iterator[str]:
    training = card["training"]
    speed = training["target_tokens_per_second"]
    yield "## Training\n"
    yield f"- updates: {training['updates']:,} of at most {training['max_updates']:,}, {training['epochs']} passes"
    yield f"- target tokens: {training['target_tokens']:,}"
    yield f"- wall-clock time: {training['seconds'] / 60:,.1f} minutes, including validation"
    yield f"- target tokens per second: {'unknown' if speed is None else f'{speed:,.0f} (median of the log)'}"
    yield f"- faults: {training['faults']}"
    validations = training["validations"]
    metrics = {key: name for key, name in _METRICS.items() if any(key in each for each in validations)}
    if not validations:
        return
    yield "\n| update | minutes | " + " | ".join(metrics.values()) + " |"
    yield "|---" * (2 + len(metrics)) + "|"
    places = {*evenly_spaced(len(validations), _CURVE_ROWS), len(validations) - 1}
    for each in (validations[place] for place in sorted(places)):
        which = f" ({each['checkpoint']})" if "checkpoint" in each else ""
        update, minutes = number(each, "update") or 0, (number(each, "seconds") or 0) / 60
        cells = ["" if (value := number(each, key)) is None else f"{value:.3f}" for key in metrics]
        yield f"| {update:,.0f}{which} | {minutes:.1f} | {' | '.join(cells)} |"


def _evaluations(card: JsonObject) -> Iterator[str]:
    yield "## Scores\n"
    if not card["evaluations"]:
        yield "None yet: transformer evaluate RUN adds them."
    for each in card["evaluations"]:
        yield f"{plain(each['name'])}: {each['sentences']:,} sentences, checkpoint {plain(each['checkpoint'])}, "
        yield f"{plain(each['written'])}\n"
        scores = [f"{score['name']} {value_text(score)}  {score['signature']}" for score in each["scores"]]
        yield from fenced("\n".join(scores))
        yield ""


def _samples(card: JsonObject) -> Iterator[str]:
    yield "## Samples\n"
    if not card["samples"]:
        yield "None yet."
        return
    name = plain(card["evaluations"][-1]["name"])
    yield f"Evenly spaced sentences of the latest evaluation, {name}; not selected by hand.\n"
    blocks = ("\n".join(f"{name:<11} {text}" for name, text in sample.items()) for sample in card["samples"])
    yield from fenced("\n\n".join(blocks))


def _limits(card: JsonObject) -> Iterator[str]:
    yield "## Limits\n"
    yield from (f"- {plain(limit)}" for limit in card["limits"])


def _config(card: JsonObject) -> Iterator[str]:
    yield "## Config\n"
    lines = [
        f"{section}.{key}={json.dumps(value, ensure_ascii=False)}"
        for section, options in card["config"].items()
        for key, value in options.items()
    ]
    yield from fenced("\n".join(lines))


def fenced(text: str) -> Iterator[str]:
    """A fenced block that backticks in the text cannot end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}text", text, fence)


def plain(value: object) -> str:
    """The value as one line of text, with all markup escaped."""
    return _MARKS.sub(r"\\\1", " ".join(str(value).split()))


def _count(counts: JsonObject, key: str) -> str:
    value = counts.get(key)
    return f"{value:,}" if isinstance(value, int) else "an unknown number of"
