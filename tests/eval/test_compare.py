"""Comparisons: equal models do not differ, and the tables agree with the reports."""

import json
import shutil

import pytest

from tests.support import eval_models
from trainer.rundir.layout import Run


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory) -> list[Run]:
    root = tmp_path_factory.mktemp("compare")
    return [
        eval_models.make_run(root / f"seed{seed}", data_dir, seed=seed)
        for seed in (0, 1)
    ]


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    def call(*words):
        out = f"--out_dir={tmp_path / 'out'}"
        ended = eval_models.command(monkeypatch, capfd, "compare", *words, out)
        path = tmp_path / "out" / "comparison.json"
        return ended, json.loads(path.read_text()) if path.exists() else None

    return call


def test_two_runs(command, runs, tmp_path):
    ended, found = command(*(str(run.path) for run in runs))
    assert ended.code == 0
    (pair,) = found["pairs"]
    one, two = (model["accuracy"] for model in found["models"])
    assert pair["accuracy"]["difference"] == pytest.approx(two - one)
    low, high = pair["accuracy"]["interval"]
    assert low <= two - one <= high
    assert pair["config_differences"] == ["seed: 0 != 1"]
    assert 0 < len(pair["examples"]) <= 24
    assert found["config_fields"] == {"seed": [0, 1]}
    counts = pair["mcnemar"]
    alone = counts["only_first"] + counts["only_second"]
    assert pair["both_right"] + pair["both_wrong"] + alone == 360
    gap = counts["only_second"] - counts["only_first"]
    assert gap == round((two - one) * 360)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "McNemar" in page
    assert "http" not in page.replace("http-equiv", "")


def test_flags_may_stand_between_words_and_apart_from_their_values(
    command, runs, tmp_path
):
    run = str(runs[0].path)
    ended, found = command(run, "--eval_tta", "none", run)
    assert (ended.code, len(found["models"])) == (0, 2)


def test_a_run_equals_itself(command, runs):
    _, found = command(str(runs[0].path), str(runs[0].path))
    (pair,) = found["pairs"]
    assert pair["disagreements"] == 0
    assert pair["mcnemar"]["p_value"] == 1
    assert pair["accuracy"]["interval"] == [0, 0]
    assert pair["config_differences"] == []


def test_a_run_against_two_files(command, runs, tmp_path):
    small = eval_models.tflite(tmp_path / "small.tflite")
    saved = eval_models.saved_model(tmp_path / "saved")
    ended, found = command(str(runs[0].path), str(small), str(saved))
    assert ended.code == 0
    assert [m["kind"] for m in found["models"]] == [
        "checkpoint",
        "tflite",
        "saved_model",
    ]
    assert found["models"][1]["accuracy"] == found["models"][2]["accuracy"]
    assert found["pairs"][0]["config_differences"] is None
    sizes = [m["bytes"] for m in found["models"]]
    assert sizes == [None, small.stat().st_size, None]
    assert [m["latency_ms"] is None for m in found["models"]] == [True, False, True]
    assert len(ended.out.splitlines()) == 6


def test_kernels_need_a_file_that_has_any(command, runs):
    path = str(runs[0].path)
    ended, found = command(path, path, "--kernels=builtin")
    assert (ended.code, found) == (2, None)
    assert "--kernels=builtin is for .tflite files" in ended.err[0]


def test_one_word_is_too_few(command, runs):
    ended, found = command(str(runs[0].path))
    assert (ended.code, found) == (2, None)
    assert "two or more" in ended.err[0]


def test_a_missing_second_writes_nothing(command, runs, tmp_path):
    ended, found = command(str(runs[0].path), str(tmp_path / "nothing"))
    assert (ended.code, found) == (2, None)
    assert len(ended.err) <= 2


def test_two_comparisons_never_share_a_folder_silently(command, runs):
    one, two = (str(run.path) for run in runs)
    assert command(one, two)[0].code == 0
    assert command(one, two)[0].code == 0  # the same again
    ended, found = command(two, one)
    assert ended.code == 2 and "holds another evaluation (models" in ended.err[0]
    assert found["models"][0]["name"] == runs[0].path.name


def test_two_groups_of_seeds(command, runs, tmp_path):
    """Folders of runs: one of two seeds, and one that holds them in another order."""
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        (tmp_path / name).mkdir()
        for place, seed in enumerate(order):
            shutil.copytree(runs[seed].path, tmp_path / name / str(place))
    ended, found = command(str(tmp_path / "a"), str(tmp_path / "b"))
    assert ended.code == 0, ended.err
    (pair,) = found["pairs"]
    assert pair["difference"] == 0 == pair["over_images"][0]
    assert pair["over_seeds"][0] < 0 < pair["over_seeds"][1]
    one, two = found["groups"]
    assert one["accuracies"] == two["accuracies"][::-1]
    assert "over seeds and images" in (tmp_path / "out" / "comparison.html").read_text()
    mixed, _ = command(str(tmp_path / "a"), str(runs[0].path))
    assert mixed.code == 2
    assert len(mixed.err) == 2
