"""Plans of stages: what may follow what, and what later stages are given."""

import shutil
from pathlib import Path

import pytest

from transformer.config.plan import load_plan
from transformer.errors import UserError

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
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


def test_a_training_may_take_the_config_of_an_earlier_one(plan: Path, tmp_path: Path) -> None:
    """Though its run is not there yet; what both change is the later one's."""
    base = tmp_path / "base.yaml"
    shutil.copy(DEMO, base)
    again = '  - {name: again, train: "${student}/config.yaml", change: {run: {seed: 7}, model: {dropout: 0.25}}}\n'
    third = '  - {name: third, train: "${again}/config.yaml", change: {model: {dropout: 0.5}}}\n'
    plan.write_text(plan.read_text().replace("base.yaml", str(base)) + again + third)
    configs = load_plan(plan).training_configs(str(plan))
    assert list(configs) == ["teacher", "student", "again", "third"]
    student = configs["student"]
    assert student.model.num_decoder_layers == 1
    run, model = student.run.model_copy(update={"seed": 7}), student.model.model_copy(update={"dropout": 0.25})
    assert configs["again"] == student.model_copy(update={"run": run, "model": model})
    assert (configs["third"].run.seed, configs["third"].model.dropout) == (7, 0.5)


def test_a_later_preset_wins_over_what_an_earlier_stage_changed(plan: Path) -> None:
    """As it does where the earlier run's config is read."""
    again = '  - {name: again, train: "${student}/config.yaml", change: {model: {preset: transformer-big}}}\n'
    text = plan.read_text().replace("base.yaml", str(DEMO)).replace("{num_decoder", "{d_model: 96, num_decoder")
    plan.write_text(text + again)
    configs = load_plan(plan).training_configs(str(plan))
    assert (configs["student"].model.d_model, configs["again"].model.d_model) == (96, 1024)


def test_a_run_in_place_of_its_config_is_refused_before_it_is_there(plan: Path) -> None:
    text = plan.read_text().replace("base.yaml", str(DEMO))
    plan.write_text(text + '  - {name: again, train: "${student}"}\n')
    with pytest.raises(UserError, match=r"stage again: .*for a run's config add /config.yaml"):
        load_plan(plan).training_configs(str(plan))


def test_the_config_of_no_earlier_training_is_refused(plan: Path) -> None:
    plan.write_text(plan.read_text().replace("train: base.yaml", f"train: {DEMO}"))
    text = plan.read_text() + '  - {name: again, train: "${taught}/config.yaml"}\n'
    plan.write_text(text)
    with pytest.raises(UserError, match=r"taught/train.en/config.yaml: no such config"):
        load_plan(plan).training_configs(str(plan))


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
        ("directory: runs/plan", "directory: -x", "-x would be read as an option"),
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
