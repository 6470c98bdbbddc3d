import pytest

from transformer.evaluation.words import count_words, split_words


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("Prices rose 3.5%", ["prices", "rose", "3", "5"]),
        ("Grüße – naïve", ["grüsse", "naïve"]),
        ("我有iPhone15和猫", ["我", "有", "iphone15", "和", "猫"]),
        ("ひらカタ", ["ひ", "ら", "カ", "タ"]),
        ("", []),
        ("…", []),
    ],
)
def test_words(sentence: str, words: list[str]) -> None:
    assert split_words(sentence) == words


def test_only_words_of_the_sentences_are_counted() -> None:
    assert count_words(["A cat and a dog", "the cat"], ["Cat a bird"]) == {"cat": 2, "a": 2}
