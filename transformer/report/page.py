"""One HTML page that explains runs: no network, no foreign script, every text escaped.

Sentences and names may hold anything. Jinja escapes all that is put into the templates beside this file, and the page's
own content security policy lets nothing run but the one script of it, whose hash it names, and loads nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from transformer.evaluation.metrics import sentence_chrf_signature
from transformer.report import drawing
from transformer.report.charts import Chart, sentence_charts, training_charts, validation_charts
from transformer.report.reported import AttentionMap, ReportedRun, first_evaluation, same_sentences
from transformer.report.scores import value_text
from transformer.report.sentences import Change, most_changed, worst
from transformer.run.evaluations import evenly_spaced

WORST = 20  # sentences of a run
CHANGED = 10  # gains of a pair of runs, and as many losses
MAX_DRAWN = 40  # pieces of a side in a heat-map


def render_page(runs: Sequence[ReportedRun], samples: int, version: str) -> str:
    """The page as HTML.

    Args:
        runs: at least one; comparisons are with the first.
        samples: how many translations to show, evenly spaced.
        version: of this program.
    """
    style, script = (_part(name) for name in ("page.css", "page.js"))
    return (
        _templates()
        .get_template("page.html")
        .render(
            runs=runs,
            evaluated=first_evaluation(runs) is not None,
            version=version,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}",
            groups=_groups(runs),
            samples=_samples(runs, samples),
            worst={place: worst(run.chrf, WORST) for place, run in enumerate(runs)},
            changes=_changes(runs),
            canvas=drawing,
            heat_map=heat_map,
            value_text=value_text,
            sentence_signature=sentence_chrf_signature(),
        )
    )


def _part(name: str) -> str:
    """A file that the page is made of."""
    return (resources.files("transformer.report") / "templates" / name).read_text("utf-8")


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _groups(runs: Sequence[ReportedRun]) -> list[tuple[str, list[drawing.Drawing]]]:
    """Headings and the charts below them."""
    groups: dict[str, list[Chart]] = {
        "Training": training_charts(runs),
        "Validation": validation_charts(runs),
        "Sentences": sentence_charts(runs),
    }
    return [(title, [drawing.draw(chart) for chart in charts]) for title, charts in groups.items() if charts]


def _samples(runs: Sequence[ReportedRun], count: int) -> list[dict[str, Any]]:
    """Sentences of the first evaluation that there is, with what each run made of them."""
    evaluation = first_evaluation(runs)
    if evaluation is None:
        return []
    found = []
    for place in evenly_spaced(len(evaluation.rows), count):
        made = [
            (number, run, run.evaluation.hypotheses[place], run.chrf[place], run.maps.get(place))
            for number, run in enumerate(runs)
            if run.evaluation is not None and same_sentences(evaluation, run.evaluation)
        ]
        texts = {"source": evaluation.sources[place], "reference": evaluation.references[place]}
        found.append({"row": evaluation.rows[place], "made": made, **texts})
    return found


def _changes(runs: Sequence[ReportedRun]) -> list[tuple[int, list[Change]]]:
    """Each run's most changed sentences against the first, where they can be compared."""
    found = ((place, most_changed(runs[0], run, CHANGED)) for place, run in enumerate(runs))
    return [(place, changes) for place, changes in found if changes]


def heat_map(attention: AttentionMap, layer: int) -> list[tuple[int, int, int]]:
    """(source place, target place, percent) of each square of a heat-map; none where it would be too large."""
    if max(len(attention.source), len(attention.target)) > MAX_DRAWN:
        return []
    return [
        (column, row, percent)
        for row, percents in enumerate(attention.layers[layer])
        for column, percent in enumerate(percents)
    ]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
