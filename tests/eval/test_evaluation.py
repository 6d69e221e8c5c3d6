"""A script's evaluation is that of the command."""

import dataclasses
import json

import numpy as np
import pytest

import trainer
from eval.robustness import corruptions
from eval.splits.evaluation_options import EvaluationOptions
from tests.support import eval_models, export_runs
from trainer.config.enums import EvalTta
from trainer.errors import InvalidInput
from trainer.models import evaluator


def test_it_has_the_numbers_and_the_files_of_the_command(monkeypatch, capfd, tmp_path):
    run = export_runs.copied(tmp_path)
    theirs = ["--out_dir=" + str(tmp_path / "theirs")]
    ended = eval_models.command(
        monkeypatch, capfd, "report", f"--run_dir={run}", *theirs
    )
    assert ended.code == 0
    digits = trainer.data.from_tfds("digits", str(export_runs.data()))
    ours = trainer.evaluate(run, digits)
    assert ours.path == run / "report"
    for name in ("report.json", "report.html", "predictions.npz"):
        assert (ours.path / name).is_file()
    known = json.loads((tmp_path / "theirs" / "report.json").read_text())
    found = json.loads((ours.path / "report.json").read_text())
    assert found == {k: v for k, v in vars(ours).items() if k != "path"}
    assert found.pop("created") and known.pop("created")
    assert found == known
    assert f"{ours.scores['accuracy']:.2%}" in repr(ours)


def test_options_and_corrupted_images_are_those_of_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH", 8)  # ten batches of two images, padded
    few = {name: corruptions.TYPES[name] for name in ("fog", "contrast")}
    monkeypatch.setattr(corruptions, "TYPES", few)
    run = export_runs.copied(tmp_path)
    options = EvaluationOptions(eval_tta=EvalTta.FLIP)
    found = trainer.evaluate(run, options=options, corruption_images=2)
    assert found.path == run / "report_flip"
    assert found.eval_tta == "flip"
    assert found.robustness["images"] == 2
    assert found.robustness["types"].keys() == few.keys()


def test_scores_of_every_class_come_first_where_classes_differ_in_size(tmp_path):
    run = export_runs.copied(tmp_path)
    digits = trainer.data.from_tfds("digits", str(export_runs.data()))
    rows = np.flatnonzero((digits.test.labels > 0) | (np.arange(360) % 4 == 0))
    test = dataclasses.replace(
        digits.test,
        images=digits.test.images[rows],
        labels=digits.test.labels[rows],
        ids=tuple(digits.test.ids[row] for row in rows),
    )
    found = trainer.evaluate(run, dataclasses.replace(digits, test=test))
    balanced = f"{found.scores['balanced_accuracy']:.2%}"
    assert f": balanced accuracy {balanced} (95 %: " in repr(found)
    page = (found.path / "report.html").read_text()
    first = page.index('class="value"')
    assert balanced[:-1] in page[first : first + 40]
    assert "more than three times fewer" in page


def test_a_comparison_is_that_of_the_command(monkeypatch, capfd, tmp_path):
    runs = [str(export_runs.copied(tmp_path / name)) for name in "ab"]
    out = tmp_path / "theirs"
    words = [*runs, f"--out_dir={out}"]
    assert eval_models.command(monkeypatch, capfd, "compare", *words).code == 0
    digits = trainer.data.from_tfds("digits", str(export_runs.data()))
    ours = trainer.compare(runs, digits, out_dir=tmp_path / "ours")
    known = json.loads((out / "comparison.json").read_text())
    assert {**vars(ours), "created": 0} == {**known, "created": 0, "path": ours.path}
    assert "McNemar" in repr(ours)
    with pytest.raises(InvalidInput, match="two or more .* got 1"):
        trainer.compare(runs[:1])


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path):
    run = export_runs.copied(tmp_path)
    pair = (np.zeros((4, 32, 32, 3), np.uint8), np.arange(4))
    with pytest.raises(InvalidInput, match=r"trainer\.data\.from_arrays.*got tuple"):
        trainer.evaluate(run, pair)
    with pytest.raises(InvalidInput, match="corruption_sample=-1"):
        trainer.evaluate(run, corruption_images=-1)
    with pytest.raises(InvalidInput, match="no run in"):
        trainer.evaluate(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="no checkpoint of step 3.*\nrestore it"):
        trainer.evaluate(run, checkpoint=3)
    with pytest.raises(InvalidInput, match="does not exist"):
        trainer.evaluate(tmp_path / "no.tflite")
    with pytest.raises(InvalidInput, match="`out_dir` is empty"):
        trainer.evaluate(run, out_dir="")
    assert not (run / "report").exists()
