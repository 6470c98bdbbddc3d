"""The card can be written of whatever a manifest and records hold, and says so where they hold nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer.config import Config
from transformer.report.card import card_of
from transformer.report.card_text import card_text, fenced, plain

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_COUNTS = st.dictionaries(st.sampled_from(["train", "validation", "x"]), _VALUES, max_size=3)
_DATA = st.fixed_dictionaries({}, optional={"counts": _COUNTS, "inputs": st.fixed_dictionaries({"corpora": _COUNTS})})
_MANIFESTS = st.fixed_dictionaries({}, optional={"data": _DATA | _VALUES, "environment": _VALUES, "seed": _VALUES})
_NAMES = ("epoch", "loss", "bleu", "seconds", "target_tokens", "checkpoint", "joules", "counters", "perplexity")
_RECORDS = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["train", "validation", "energy", "fault"]), "update": st.integers(0, 99)},
        optional=dict.fromkeys(_NAMES, _VALUES),
    ),
    max_size=4,
)


@given(_MANIFESTS, _RECORDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_manifest_and_no_record_breaks_it(config: Config, manifest: dict[str, Any], records: list[Any]) -> None:
    card = card_of("run", config, manifest, records, [], 1)
    assert card_text(card).startswith("# run: de → en\n")
    json.dumps(card)


def test_what_is_not_known_is_said(config: Config) -> None:
    text = card_text(card_of("run", config, {}, [], [], 1))
    for line in ("Licence: the config does not say", "an unknown number of", "tokens per second: unknown", "None yet"):
        assert line in text


def test_text_is_no_markup() -> None:
    assert plain("a*b\n<c>`d`") == r"a\*b \<c\>\`d\`"
    assert list(fenced("````")) == ["`````text", "````", "`````"]
