"""The tests are sacreBLEU's; equal systems do not differ, a clearly better one does."""

import json
import random
from dataclasses import asdict

import pytest
import sacrebleu
from sacrebleu.significance import PairedTest

from transformer.errors import UserError
from transformer.evaluation.significance import Comparison, compare_systems

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "man",
    "woman",
    "house",
    "tree",
    "sees",
    "walks",
    "runs",
    "with",
    "near",
    "big",
    "red",
]


def corpora() -> tuple[list[str], list[str], list[str], list[str]]:
    """References; a bad system; the bad one with a handful of sentences mended; a good one."""
    draw = random.Random(3)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(6, 12))) for _ in range(80)]

    def damaged(share: float) -> list[str]:
        sentences = [line.split() for line in references]
        return [" ".join(draw.choice(WORDS) if draw.random() < share else word for word in line) for line in sentences]

    bad = damaged(0.5)
    mended = [r if number in (3, 40) else b for number, (r, b) in enumerate(zip(references, bad, strict=True))]
    return references, bad, mended, damaged(0.2)


@pytest.fixture(scope="module")
def compared() -> list[Comparison]:
    references, bad, mended, good = corpora()
    systems = [("bad", bad), ("mended", mended), ("good", good), ("again", bad)]
    return compare_systems(systems, references, "en", resamples=200, trials=400)


def test_the_figures_and_p_values_are_sacrebleus_own(compared: list[Comparison]) -> None:
    references, bad, _, good = corpora()
    for kind, count, attribute in (("bs", 200, "p_bootstrap"), ("ar", 400, "p_randomisation")):
        metrics = {"BLEU": sacrebleu.BLEU(), "chrF2++": sacrebleu.CHRF(word_order=2), "TER": sacrebleu.TER()}
        signatures, results = PairedTest([("bad", bad), ("good", good)], metrics, [references], kind, count)()
        for found in compared:
            baseline, own = found.systems[0], found.systems[2]
            first, expected = results[found.metric]
            assert (baseline.value, own.value) == (first.score, expected.score)  # type: ignore[union-attr]
            assert own.difference is not None and own.difference.delta == own.value - baseline.value
            assert getattr(own.difference, attribute) == expected.p_value  # type: ignore[union-attr]
            own_signature = found.bootstrap_signature if kind == "bs" else found.randomisation_signature
            assert own_signature == str(signatures[found.metric])
            if kind == "bs":
                assert (own.bootstrap_mean, own.bootstrap_half_width) == (expected.mean, expected.ci)  # type: ignore[union-attr]


def test_a_better_system_is_found_and_the_same_one_is_not_different(compared: list[Comparison]) -> None:
    for found in compared:
        _, mended, good, again = (system.difference for system in found.systems)
        assert mended is not None and good is not None and again is not None
        assert max(good.p_bootstrap, good.p_randomisation) < 0.01
        assert good.low < good.delta < good.high
        assert (good.low > 0) if found.higher_is_better else (good.high < 0)
        assert (again.delta, again.low, again.high) == (0, 0, 0)
        # sacreBLEU's own p-values are the smallest there are for these two
        assert (again.p_bootstrap, again.p_randomisation, again.sentences) == (1, 1, 0)
        assert (mended.p_randomisation, mended.sentences) == (0.5, 2) and mended.p_bootstrap > 0.01


def test_what_a_metric_does_not_look_at_is_no_difference_to_it() -> None:
    references = ["Ein Hund läuft .", "Zwei Katzen schlafen .", "Der Mann liest ein Buch ."] * 5
    hypotheses = ["Ein Hund rennt .", "Zwei Katzen schlafen .", "Der Mann liest Bücher ."] * 5
    lower = [line.lower() for line in hypotheses]
    systems = [("cased", hypotheses), ("lowercased", lower)]
    by_metric = {each.metric: each.systems[1].difference for each in compare_systems(systems, references, "de")}
    bleu, ter = by_metric["BLEU"], by_metric["TER"]
    assert bleu is not None and ter is not None
    assert (ter.delta, ter.p_bootstrap, ter.p_randomisation, ter.sentences) == (0, 1, 1, 15)
    assert bleu.delta < 0 and bleu.p_randomisation < 0.01


def test_the_interval_is_of_paired_differences(compared: list[Comparison]) -> None:
    """Both systems find the same sentences hard, so the difference varies less than either figure."""
    bleu = compared[0]
    mended = bleu.systems[1]
    assert mended.difference is not None
    assert (mended.difference.high - mended.difference.low) / 2 < mended.bootstrap_half_width


def test_json(compared: list[Comparison]) -> None:
    assert json.loads(json.dumps([each.to_json() for each in compared])) == [asdict(each) for each in compared]
    assert [(each.metric, each.higher_is_better) for each in compared] == [
        ("BLEU", True),
        ("chrF2++", True),
        ("TER", False),
    ]


def test_what_cannot_be_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^short: 1 hypotheses for 2 references"):
        compare_systems([("whole", ["a", "b"]), ("short", ["a"])], ["a", "b"], "en")
    with pytest.raises(ValueError, match="at least one other"):
        compare_systems([("alone", ["a"])], ["a"], "en")
    monkeypatch.setenv("SACREBLEU_SEED", "none")
    with pytest.raises(UserError, match=r"^SACREBLEU_SEED=none"):
        compare_systems([("one", ["a"]), ("two", ["a"])], ["a"], "en")
