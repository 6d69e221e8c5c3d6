"""Each opening of a study's test split is recorded, and a second one says so."""

import concurrent.futures
import json

import pytest

from tests.support import sealed_studies
from trainer.errors import InvalidInput
from trainer.rundir import test_openings


@pytest.fixture
def study(tmp_path):
    return sealed_studies.begin(tmp_path / "study")


def test_a_run_outside_of_a_study_is_not_recorded(tmp_path):
    (tmp_path / "study.json").write_text("[]")  # of another program
    assert test_openings.record(tmp_path / "trials" / "0", "a") is None
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_the_second_opening_says_that_it_is_one(study, monkeypatch):
    monkeypatch.setenv(test_openings.OPENER, "launch.sweep --finish")
    first = test_openings.record(study / "finish" / "0", "a")
    monkeypatch.delenv(test_openings.OPENER)
    second = test_openings.record(study / "finish" / "0" / "export" / "x.tflite", "a")
    third = test_openings.record(study / "trials" / "3", "b")
    assert "for the first time" in first
    assert "opening 2" in second and "launch.sweep --finish" in second
    assert "always of these weights" in second
    assert "opening 3" in third and "other weights were tested" in third
    listed = test_openings.load(study)
    assert [one["run"] for one in listed] == [
        "finish/0",
        "finish/0/export/x.tflite",
        "trials/3",
    ]
    assert [one["number"] for one in listed] == [1, 2, 3]
    assert listed[1]["by"] != listed[0]["by"] == "launch.sweep --finish"


def test_a_test_that_was_killed_is_one_opening(study):
    for weights in ("a", "a", "b"):
        test_openings.record(study / "finish" / "0", weights, once=True)
    assert [one["weights_sha256"] for one in test_openings.load(study)] == ["a", "b"]


def test_openings_of_several_processes_are_all_recorded(study):
    runs = [study / "trials" / str(number) for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: test_openings.record(run, "a"), runs))
    listed = test_openings.load(study)
    assert [one["number"] for one in listed] == list(range(1, 21))
    assert {one["run"] for one in listed} == {f"trials/{n}" for n in range(20)}


def test_an_opening_that_cannot_be_recorded_is_refused(study):
    (study / test_openings.FILE).write_text(json.dumps({"openings": [1]}))
    with pytest.raises(InvalidInput, match="cannot be read") as raised:
        test_openings.record(study / "trials" / "0", "a")
    assert str(raised.value).count("\n") == 1
    (study / test_openings.FILE).unlink()
    (study / test_openings.LOCK).unlink()
    (study / test_openings.LOCK).symlink_to("elsewhere")
    with pytest.raises(InvalidInput, match="cannot be written") as raised:
        test_openings.record(study / "trials" / "0", "a")
    assert str(raised.value).count("\n") == 1
