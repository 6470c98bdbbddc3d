"""The page: well-formed, whole in itself, and safe whatever texts hold."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from transformer.report.page import MAX_DRAWN, heat_map, render_page
from transformer.report.reported import AttentionMap, ReportedRun

Make = Callable[..., ReportedRun]

VOID = {"meta", "link", "br", "hr", "img", "input"}
EVIL = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" x="',
    "<!-- ",
    "]]>&lt;b&gt;",
    "{{ 7 * 7 }}{% raw %}",
    "\ud800\x00\u202e",
]


class Page(HTMLParser):
    """Elements with their attributes, the text, and what is wrong with the nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.wrong += [f"{tag} has an attribute twice"] if len(dict(attrs)) < len(attrs) else []
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.mark.parametrize("evaluated", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_it_is_well_formed_and_names_what_it_shows(make_run: Make, count: int, evaluated: bool) -> None:
    hypotheses = ("a dog", "two cats sleep", "the old house") if evaluated else None
    runs = [
        make_run("first", hypotheses),
        *(make_run(f"r{n}", hypotheses and [*hypotheses[:2], f"h {n}"]) for n in range(count - 1)),
    ]
    page = Page(render_page(runs, 2, "1.2"))
    assert page.wrong == [] and page.open == []
    titles = page.text
    for text in ("Training loss", "Learning rate", "Speed", "Validation BLEU over time", "1,234", "transformer 1.2"):
        assert text in titles
    for text in (
        "nrefs:1|version:2",
        "Samples",
        "Worst sentences",
        "Quality by source length",
        "two cats sleep",
        "nw:2",
    ):
        assert (text in titles) is evaluated
    assert ("Most changed" in titles) is (evaluated and count > 1)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert len(set(ids)) == len(ids) and {link[1:] for link in links if link} <= set(ids)


def test_it_needs_no_network(make_run: Make) -> None:
    text = render_page([make_run()], 3, "1")
    page = Page(text)
    loading = {"src", "srcset", "data", "action", "formaction", "background", "poster", "xlink:href"}
    assert [(tag, a) for tag, a in page.elements if loading & set(a)] == []
    assert {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "img", "form"} == set()
    assert re.findall(r"@import|url\(|fetch\(|import\(|XMLHttp", text) == []
    assert re.findall(r"https?://[^\s\"']+", text) == ["http://www.w3.org/2000/svg"]  # a name, which nothing loads


def test_its_policy_lets_its_own_script_alone_run(make_run: Make) -> None:
    text = render_page([make_run()], 3, "1")
    (policy,) = (a["content"] for tag, a in Page(text).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    assert all(not name.startswith("on") and name != "style" for _, a in Page(text).elements for name in a)


def test_no_text_becomes_markup(make_run: Make) -> None:
    pages = []
    for texts in (["x" * len(text) for text in EVIL], EVIL):  # as long, so that the charts are the same
        attention = AttentionMap(texts, texts, [[[10] * len(EVIL)] * len(EVIL)])
        run = replace(make_run(texts[0], texts, sources=texts, references=texts), maps={0: attention})
        pages.append(
            Page(render_page([replace(run, chrf=[50.0] * len(EVIL))], 9, "1").encode("utf-8", "replace").decode())
        )
    before, after = ([(tag, sorted(a)) for tag, a in page.elements] for page in pages)
    assert after == before, "the same elements with the same attributes, whatever the texts are"
    assert pages[1].wrong == []
    for text in EVIL[:-1]:
        assert text in pages[1].text
    assert "alert" not in "".join(
        value or "" for _, a in pages[1].elements for key, value in a.items() if key != "aria-label"
    )


def test_a_heat_map_has_a_square_for_each_pair_of_pieces() -> None:
    attention = AttentionMap(["a", "b", "c"], ["x", "y"], [[[1, 2, 3], [4, 5, 6]], [[0] * 3] * 2])
    assert heat_map(attention, 0) == [(0, 0, 1), (1, 0, 2), (2, 0, 3), (0, 1, 4), (1, 1, 5), (2, 1, 6)]
    assert heat_map(AttentionMap(["a"] * (MAX_DRAWN + 1), ["x"], [[[1] * (MAX_DRAWN + 1)]]), 0) == []
