"""What counts as a word where sentences are described, not scored: scores have sacreBLEU's tokenizers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# a run of letters and digits; each character of Chinese and Japanese, which set no spaces (Thai's are taken as one run)
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿\U00020000-\U0003ffff]|(?:(?![぀-ヿ㐀-鿿豈-﫿\U00020000-\U0003ffff])\w)+")


def split_words(sentence: str) -> list[str]:
    """The words of a sentence, case folded, without punctuation; of Chinese and Japanese the characters."""
    return _WORD.findall(sentence.casefold())


def count_words(lines: Iterable[str], of: Iterable[str]) -> Counter[str]:
    """How often the words of some sentences come in a corpus.

    Args:
        lines: the corpus; read once.
        of: the sentences. Other words are not counted, so that a large corpus fits into memory.
    """
    wanted = {word for sentence in of for word in split_words(sentence)}
    return Counter(word for line in lines for word in split_words(line) if word in wanted)
