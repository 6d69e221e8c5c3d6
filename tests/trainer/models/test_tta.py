"""Test-time augmentation: the views are right, and every number says which it had."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from eval.reports.charts import training_curves
from tests.support import eval_models
from tests.support.commands import result, run_trainer
from trainer.config.enums import EvalTta
from trainer.config.schema import ModelConfig
from trainer.models import evaluator
from trainer.rundir.layout import Run

ALL = list(EvalTta)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 4, 5, 3), np.uint8)


def test_the_six_views_by_hand():
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    seen = [
        (w, v[0, :, :, 0].tolist())
        for w, v in evaluator.views(image, EvalTta.FLIP_SHIFT)
    ]
    assert seen == [
        (0.25, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (0.25, [[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
        (0.125, [[5, 6, 5], [8, 9, 8], [5, 6, 5]]),  # up and left
        (0.125, [[5, 6, 5], [8, 9, 8], [5, 6, 5]]),  # which is its own mirror
        (0.125, [[5, 4, 5], [2, 1, 2], [5, 4, 5]]),  # down and right
        (0.125, [[5, 4, 5], [2, 1, 2], [5, 4, 5]]),
    ]


def test_shift_has_the_views_of_flip_shift_that_are_not_mirrored():
    whole = list(evaluator.views(IMAGES, EvalTta.FLIP_SHIFT))[::2]
    seen = list(evaluator.views(IMAGES, EvalTta.SHIFT))
    assert [weight for weight, _ in seen] == [0.5, 0.25, 0.25]
    for (_, view), (_, other) in zip(seen, whole, strict=True):
        np.testing.assert_array_equal(view, other)


@pytest.mark.parametrize("which", ALL)
def test_weights_add_up_to_one_and_the_first_view_is_the_image(which):
    seen = list(evaluator.views(IMAGES, which))
    assert sum(weight for weight, _ in seen) == 1
    assert len(seen) == evaluator.count_views(which)
    np.testing.assert_array_equal(seen[0][1], IMAGES)
    for _, view in seen:
        assert (view.shape, view.dtype) == (IMAGES.shape, IMAGES.dtype)


def test_flip_gives_an_image_and_its_mirror_the_same_answer():
    mirrored = np.ascontiguousarray(IMAGES[:, :, ::-1])
    ours = evaluator.mean_over_views(corners, IMAGES, EvalTta.FLIP)
    np.testing.assert_array_equal(
        evaluator.mean_over_views(corners, mirrored, EvalTta.FLIP), ours
    )
    assert (corners(mirrored) != corners(IMAGES)).any()


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=5))
def test_answers_that_do_not_feel_the_view_come_back_as_they_are(row):
    answers = np.array([row] * len(IMAGES), np.float32)
    for which in ALL:
        averaged = evaluator.mean_over_views(lambda view: answers, IMAGES, which)
        assert averaged.dtype == np.float32
        np.testing.assert_array_equal(averaged, answers)


def corners(images: np.ndarray) -> np.ndarray:
    """Logits [N, 2]: the pixels at the upper left and the upper right."""
    return images[:, 0, [0, -1], 0].astype(np.float32)


def test_a_mean_by_hand():
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    assert evaluator.mean_over_views(corners, image, EvalTta.NONE).tolist() == [[1, 3]]
    assert evaluator.mean_over_views(corners, image, EvalTta.FLIP).tolist() == [[2, 2]]
    assert evaluator.mean_over_views(corners, image, EvalTta.FLIP_SHIFT).tolist() == [
        [3.5, 3.5]
    ]


class Corners:
    """Logits or their softmax: how bright the two upper corners are."""

    shape, classes, step = (4, 5, 3), 2, 0.0

    def __init__(self, output: Output) -> None:
        self.output = output

    def __call__(self, images, tick):
        tick(len(images))
        logits = corners(images).astype(np.float64) / 64
        soft = self.output is Output.PROBABILITIES
        return eval_models.softmax(logits) if soft else logits


@pytest.mark.parametrize("which", ALL)
def test_logits_and_their_softmax_have_the_same_mean(which):
    ticks, answers = [], []
    for output in (Output.LOGITS, Output.PROBABILITIES):
        predictor = Predictor("corners", Corners(output)).with_tta(which)
        answers.append(predictor(IMAGES, ticks.append))
        assert predictor.output is output
        np.testing.assert_allclose(answers[-1].sum(axis=1), 1)
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-12)
    assert sum(ticks) == 2 * len(IMAGES) * evaluator.count_views(which)


def test_an_evaluator_averages_over_the_views():
    config, size = (
        ModelConfig(name="cnn", kwargs={"width": 1 / 16}),
        evaluator.BATCH + 3,
    )
    images = RNG.integers(0, 256, (size, 16, 16, 3), np.uint8)
    make = {"image_shape": (16, 16, 3), "num_classes": 4}
    plain = evaluator.Evaluator(config, **make)
    weights = {v.path: v.numpy() for v in plain.model.variables}
    for which in ALL:
        averaging = evaluator.Evaluator(config, **make, tta=which)
        averaging.load(weights)
        seen, ticks = [], []
        for weight, view in evaluator.views(images, which):
            seen.append(weight * plain.logits(view))
        found = averaging.logits(images, ticks.append)
        np.testing.assert_allclose(found, sum(seen), atol=1e-5)
        assert len(ticks) == 2 * evaluator.count_views(
            which
        )  # two batches of each view


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    """A finished run with flip_shift, and what the trainer printed."""
    path = tmp_path_factory.mktemp("tta") / "run"
    return path, run_trainer(data_dir, path, "--eval_tta=flip_shift", check=True)


def validations(run) -> list[dict]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["split"] == "validation"]


def test_a_run_says_it_beside_every_number(data_dir, trained):
    run, done = trained
    words = " with flip_shift test-time augmentation"
    assert result(run)["eval_tta"] == "flip_shift"
    shown = f"test accuracy {result(run)['test_accuracy']:.2%}{words} (95 %"
    assert shown in done.stdout
    lines = validations(run)
    assert {line["eval_tta"] for line in lines} == {"flip_shift"}
    said = [line for line in done.stderr.splitlines() if "validation accuracy" in line]
    assert len(said) == len(lines)
    assert all(line.endswith(words) for line in said)


def test_a_finished_run_names_what_its_number_was_had_with(data_dir, trained):
    run, done = trained
    again = run_trainer(data_dir, run, "--eval_tta=none", check=True)
    assert again.stdout == done.stdout


def test_it_changes_no_weight(tiny_run, trained):
    plain, averaged = result(tiny_run.path), result(trained[0])
    assert plain["weights_sha256"] == averaged["weights_sha256"]
    assert plain["eval_tta"] == "none"
    assert plain["test_loss"] != averaged["test_loss"]


@pytest.fixture
def report(monkeypatch, capfd, trained, tmp_path):
    """Reports on a copy of the run; gives its JSON, page, and what was printed."""

    def call(which: str):
        run = tmp_path / "run"
        if not run.exists():
            shutil.copytree(trained[0], run, symlinks=True)
        words = [f"--run_dir={run}", f"--eval_tta={which}"]
        ended = eval_models.command(monkeypatch, capfd, "report", *words)
        assert ended.code == 0, ended.err
        out = run / ("report" if which == "none" else f"report_{which}")
        found = json.loads((out / "report.json").read_text())
        packed = np.load(out / "predictions.npz")
        assert str(packed["eval_tta"]) == found["eval_tta"] == which
        return found, (out / "report.html").read_text(), ended.out

    return call


def test_trainer_and_report_agree_and_the_report_says_it(report, trained, tmp_path):
    found, page, said = report("flip_shift")
    noted, words = result(trained[0]), "with flip_shift test-time augmentation"
    assert found["scores"]["accuracy"] == noted["test_accuracy"]
    assert found["scores"]["nll"] == pytest.approx(noted["test_loss"], rel=1e-6)
    assert words in said
    assert f"{words} (95 %: " in page
    assert "scores are those of a report without it" in page
    assert "The training recorded" not in page
    assert found["calibration"]["state"] == "uncalibrated"
    assert not (tmp_path / "run" / "calibration.json").exists()


def test_a_plain_report_stays_plain_and_names_what_the_run_had(report, trained):
    found, page, said = report("none")
    assert found["calibration"]["state"] == "calibrated"
    assert "test-time augmentation" not in said
    noted = f"{result(trained[0])['test_accuracy']:.2%} with flip_shift test-time"
    assert f"The training recorded {noted} augmentation on these images." in page


def test_a_run_from_before_there_was_any_had_none(report, trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run", symlinks=True)
    old = result(trained[0])
    del old["eval_tta"]
    (tmp_path / "run" / "result.json").write_text(json.dumps(old))
    _, page, _ = report("flip")
    noted = f"{old['test_accuracy']:.2%} without test-time augmentation"
    assert f"The training recorded {noted} on these images." in page


def test_training_curves_are_named_by_it(trained):
    named = {"training", "validation with flip_shift test-time augmentation"}
    assert training_curves.load_curves(Run(trained[0]))["accuracy"].keys() == named


def test_a_comparison_says_it_of_each_model(monkeypatch, capfd, trained, tmp_path):
    saved = eval_models.saved_model(tmp_path / "saved")
    out = tmp_path / "out"
    words = [str(trained[0]), str(saved), "--eval_tta=flip", f"--out_dir={out}"]
    ended = eval_models.command(monkeypatch, capfd, "compare", *words)
    assert ended.code == 0, ended.err
    found = json.loads((out / "comparison.json").read_text())
    assert [model["eval_tta"] for model in found["models"]] == ["flip", "flip"]
    phrase = "with flip test-time augmentation"
    assert ended.out.count(phrase) == 2
    assert phrase in (out / "comparison.html").read_text()
