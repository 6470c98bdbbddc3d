"""Every sentence falls into one bucket, whose figures are sacreBLEU's of its sentences alone."""

import json
from collections import Counter

import pytest
import sacrebleu

from transformer.errors import UserError
from transformer.evaluation.breakdown import break_down, in_words, rare_share

SOURCES = ["eins zwei drei", "eins " * 5, "eins " * 6, "eins zwei " * 13, "eins " * 60, ""]
REFERENCES = ["one two three four", "a b c d e", "a b c d e f", "one two " * 13, "one " * 60, "x"]
HYPOTHESES = ["one two three five", "a b c d e", "a b c d x f", "one two " * 12, "one " * 60, ""]


def test_lengths() -> None:
    buckets = {bucket.name: bucket for bucket in break_down(SOURCES, HYPOTHESES, REFERENCES, "en").by_length}
    assert {name: bucket.sentences for name, bucket in buckets.items()} == {
        "0-5": 3,
        "6-10": 1,
        "11-15": 0,
        "16-20": 0,
        "21-30": 1,
        "31-50": 0,
        "51 or more": 1,
    }
    six = buckets["6-10"]
    assert six.bleu == sacrebleu.corpus_bleu(HYPOTHESES[2:3], [REFERENCES[2:3]]).score
    assert six.chrf == sacrebleu.corpus_chrf(HYPOTHESES[2:3], [REFERENCES[2:3]], word_order=2).score
    assert (six.length_ratio, buckets["21-30"].length_ratio) == (1, 24 / 26)
    assert (buckets["11-15"].bleu, buckets["11-15"].chrf, buckets["11-15"].length_ratio) == (None, None, None)


def test_rarity() -> None:
    counts = Counter(eins=100, zwei=5)  # drei was never seen
    found = break_down(SOURCES, HYPOTHESES, REFERENCES, "en", counts)
    assert found.by_rarity is not None
    assert [(bucket.name, bucket.sentences) for bucket in found.by_rarity] == [
        ("none", 4),
        ("to 10 %", 0),
        ("to 20 %", 0),
        ("to 40 %", 0),
        ("over 40 %", 2),
    ]
    assert rare_share(SOURCES[0], counts) == 2 / 3 and rare_share("", counts) == 0
    assert break_down(SOURCES, HYPOTHESES, REFERENCES, "en").by_rarity is None


def test_json_and_words() -> None:
    found = break_down(SOURCES, HYPOTHESES, REFERENCES, "zh", Counter(eins=100))
    record = json.loads(json.dumps(found.to_json()))
    assert record["sentences"] == 6 == sum(bucket["sentences"] for bucket in record["by_length"])
    assert {defect["name"]: defect["count"] for defect in record["defects"]}["empty"] == 1
    assert "tok:zh|" in record["signatures"][0] and "nw:2" in record["signatures"][1]
    lines = in_words(found)
    assert [line.split()[:2] for line in lines if line.startswith("empty")] == [["empty", "1"]]
    assert any(line.split() == ["51", "or", "more", "1", "100.00", "100.00", "1.00"] for line in lines)
    assert set(record["signatures"]) <= {line.removeprefix("signature  ") for line in lines}


def test_other_counts_are_refused() -> None:
    with pytest.raises(UserError, match="1 hypotheses for 2 references"):
        break_down(["a", "b"], ["a"], ["a", "b"], "en")
