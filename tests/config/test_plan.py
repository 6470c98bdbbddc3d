"""Plans of stages: what may follow what, and what later stages are given."""

from pathlib import Path

import pytest

from transformer.config.plan import load_plan
from transformer.errors import UserError

PLAN = """
directory: runs/plan
stages:
  - {name: teacher, train: base.yaml}
  - {name: taught, translate: "${teacher}", input: text/train.en}
  - name: student
    train: base.yaml
    change:
      model: {num_decoder_layers: 1}
      data: {train: [{source: text/train.en, target: "${taught}"}]}
      tokenizer: {source_model: "${teacher}/tokenizer/shared.model"}
  - {name: scores, evaluate: "${student}", change: {decoding: {beam_size: 2}}}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_references_are_what_earlier_stages_leave(plan: Path) -> None:
    teacher, taught, student, scores = load_plan(plan).resolved()
    assert (teacher.kind, taught.kind, student.kind, scores.kind) == ("train", "translate", "train", "evaluate")
    assert taught.translate == "runs/plan/teacher"
    assert student.overrides() == [
        "model.num_decoder_layers=1",
        'data.train=[{"source": "text/train.en", "target": "runs/plan/taught/train.en"}]',
        'tokenizer.source_model="runs/plan/teacher/tokenizer/shared.model"',
    ]
    assert scores.evaluate == "runs/plan/student"
    assert scores.output(Path("runs/plan")) == Path("runs/plan/scores/scores.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('translate: "${teacher}"', 'translate: "${student}"', "student} names no earlier stage"),
        ("name: taught", "name: teacher", "two stages are called teacher"),
        ("name: taught", "name: ../x", "stages.1.name"),
        (", input: text/train.en", "", "translate and input belong together"),
        ("train: base.yaml}", "train: base.yaml, evaluate: x}", "one of train, translate, evaluate"),
        ("train: base.yaml}", "trian: base.yaml}", "did you mean train"),
        ("model: {num", "run: {directory: x}, model: {num", "run.directory is the stage's folder"),
        ("directory: runs/plan", "", "directory: missing"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_in_one_line(plan: Path, old: str, new: str, message: str) -> None:
    text = plan.read_text()
    assert old in text
    if new.startswith("run:"):
        new = "run: {directory: x}\n      model: {num"
    plan.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as refusal:
        load_plan(plan)
    assert str(plan) in str(refusal.value)
    assert "\n" not in str(refusal.value)
