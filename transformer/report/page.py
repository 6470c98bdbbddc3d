"""A self-contained HTML page that explains runs.

Sentences and names may hold anything, so Jinja escapes all text, and the page's content security policy loads nothing
and runs only the page's own script, identified by its hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources

import jinja2
from markupsafe import Markup

from transformer.evaluation.metrics import sentence_chrf_signature
from transformer.report import drawing
from transformer.report.card_text import value_text
from transformer.report.charts import sentence_charts, training_charts, validation_charts
from transformer.report.reported import AttentionMap, ReportedRun, first_evaluation, same_sentences
from transformer.report.sentences import most_changed, worst
from transformer.run.evaluations import evenly_spaced

WORST = 20  # sentences per run
CHANGED = 10  # gains per pair of runs, and as many losses
MAX_DRAWN = 40  # pieces per side of a heat-map


def render_page(runs: Sequence[ReportedRun], samples: int, version: str) -> str:
    """The page as HTML.

    Args:
        runs: at least one; the others are compared with the first.
        samples: number of evenly spaced translations to show.
        version: version of this program.
    """
    style, script = (_part(name) for name in ("page.css", "page.js"))
    changes = ((place, most_changed(runs[0], run, CHANGED)) for place, run in enumerate(runs))
    groups = {
        "Training": training_charts(runs),
        "Validation": validation_charts(runs),
        "Sentences": sentence_charts(runs),
    }
    page = _templates().get_template("page.html")
    return page.render(
        runs=runs,
        evaluated=first_evaluation(runs) is not None,
        version=version,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}",
        groups=[(title, list(map(drawing.draw, charts))) for title, charts in groups.items() if charts],
        samples=_samples(runs, samples),
        worst={place: worst(run.chrf, WORST) for place, run in enumerate(runs)},
        changes=[(place, found) for place, found in changes if found],
        canvas=drawing,
        heat_map=heat_map,
        value_text=value_text,
        sentence_signature=sentence_chrf_signature(),
    )


def _part(name: str) -> str:
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


def _samples(runs: Sequence[ReportedRun], count: int) -> list[dict[str, object]]:
    """Sentences of the first evaluation, with the translations of each run that shares them."""
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


def heat_map(attention: AttentionMap, layer: int) -> list[tuple[int, int, int]]:
    """(source place, target place, percent) of each square of a heat-map; empty if it would be too large."""
    if max(len(attention.source), len(attention.target)) > MAX_DRAWN:
        return []
    rows = enumerate(attention.layers[layer])
    return [(column, row, percent) for row, percents in rows for column, percent in enumerate(percents)]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
