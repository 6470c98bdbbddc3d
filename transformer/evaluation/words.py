"""Words for describing sentences; scores use sacreBLEU's tokenizers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# a run of letters and digits, or a character of Chinese or Japanese, which have no spaces (Thai counts as one run)
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿\U00020000-\U0003ffff]|(?:(?![぀-ヿ㐀-鿿豈-﫿\U00020000-\U0003ffff])\w)+")


def split_words(sentence: str) -> list[str]:
    """The words of a sentence, case folded and without punctuation; for Chinese and Japanese, the characters."""
    return _WORD.findall(sentence.casefold())


def count_words(lines: Iterable[str], of: Iterable[str]) -> Counter[str]:
    """How often the words of some sentences occur in a corpus, read once; other words are not counted, to save
    memory."""
    wanted = {word for sentence in of for word in split_words(sentence)}
    return Counter(word for line in lines for word in split_words(line) if word in wanted)
