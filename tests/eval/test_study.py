"""eval.study: one page of a study, whole, offline, and of unfinished ones, too."""

import csv
import json
import re
import subprocess
import sys

import pytest
from absl import flags
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.plugins.hparams import metadata

from eval import study as command
from eval.studies import hyperparameters, study_data, study_summary
from tests.support import fake_studies
from trainer.errors import InvalidInput
from trainer.rundir import test_openings

HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "matplotlib", "optuna"}


def write(path, *words):
    values = command.define(flags.FlagValues())
    values(["study", *words])
    command.main(values, [str(path)])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake_studies.write(tmp_path_factory.mktemp("studies") / "s")


@pytest.fixture(scope="module")
def page(study):
    write(study)
    return (study / command.PAGE).read_text()


def test_the_page_is_whole_and_asks_no_network(page, study):
    found = json.loads((study / command.SUMMARY).read_text())
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page)
    assert page.count('<svg class="chart"') == 3
    assert page.count("<tr tabindex") == 24
    for row in found["trials"]:
        assert f"{100 * row['validation_accuracy']:.2f}" in page
    for word in ("Pareto front", "Importance of flags", "has not been opened", "ε²"):
        assert word in page
    assert " style=" not in page  # the policy refuses it


def test_the_summary_has_the_winner_beside_what_luck_would_give(page, study):
    found = json.loads((study / command.SUMMARY).read_text())
    best = found["winner"]
    assert best["mean"] == max(row["mean"] for row in found["configurations"])
    assert best["candidates"] == 8
    noise = (best["noise_of_seeds"] ** 2 + best["noise_of_images"] ** 2) ** 0.5
    assert best["expected_maximum_of_noise"] == pytest.approx(1.4236 * noise, rel=1e-3)
    low, high = best["over_seeds"]
    wide = best["over_images"]
    assert wide[0] < low < best["mean"] < high < wide[1]
    with (study / command.TABLE).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == list(range(1, 9))
    assert float(rows[0]["mean"]) == best["mean"]


def test_tensorboard_finds_the_options_that_differ(page, study):
    path = study / hyperparameters.FOLDER / hyperparameters.FILE
    events = list(event_file_loader.EventFileLoader(str(path)).Load())
    (value,) = events[1].summary.value
    content = metadata.parse_experiment_plugin_data(value.metadata.plugin_data.content)
    names = {info.name for info in content.hparam_infos}
    assert names == {"optim.learning_rate", "seed"}
    assert [info.name.tag for info in content.metric_infos] == list(
        hyperparameters.METRICS
    )


def test_an_unfinished_study_has_a_page(tmp_path):
    path = fake_studies.write(tmp_path / "s", configurations=3, planned=24)
    table = json.loads((path / "trials.json").read_text())
    rows = table["trials"]
    rows[1] |= {"state": "failed", "validation_accuracy": None, "values": None}
    rows[1] |= {"reason": "NaN <b>loss</b>", "validation_accuracy_interval": None}
    rows[2] |= {"state": "pruned", "values": None}
    del rows[5:]
    (path / "trials.json").write_text(json.dumps(table))
    (path / "trials" / "3" / "metrics.jsonl").write_bytes(b'{"split": "val')
    write(path)
    page = (path / command.PAGE).read_text()
    assert "of 24 planned" in page
    assert "NaN &lt;b&gt;loss&lt;/b&gt;" in page
    found = json.loads((path / command.SUMMARY).read_text())
    assert found["states"] == {"complete": 3, "failed": 1, "pruned": 1, "running": 4}
    (path / "trials.json").unlink()
    write(path)
    assert "No trial has ended yet" in (path / command.PAGE).read_text()


def test_openings_of_the_test_split_are_shown(tmp_path):
    path = fake_studies.write(tmp_path / "s", configurations=1)
    for trial, weights in ((0, "a"), (1, "b")):
        test_openings.record(path / "trials" / str(trial), weights * 64)
    write(path, f"--out_dir={tmp_path / 'out'}")
    page = (tmp_path / "out" / command.PAGE).read_text()
    assert "was opened 2 times, for 2 different weights" in page
    assert not (path / command.PAGE).exists()


def test_fewer_seeds_do_not_win(tmp_path):
    path = fake_studies.write(tmp_path / "s", configurations=2, seeds=2)
    table = json.loads((path / "trials.json").read_text())
    table["trials"][0]["validation_accuracy"] = 0.999
    table["trials"][1]["state"] = "failed"
    (path / "trials.json").write_text(json.dumps(table))
    found = study_summary.summarize(study_data.load_study(path))
    assert found["winner"]["configuration"] == 1


@pytest.mark.parametrize("name", ["study.json", "trials.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"trials": [{"number": "x"}]}'])
def test_damage_is_named_in_two_lines(tmp_path, name, content):
    path = fake_studies.write(tmp_path / "s", configurations=1)
    if name == "study.json" and content.startswith('{"'):
        pytest.skip("any object is a definition")
    (path / name).write_text(content)
    with pytest.raises(InvalidInput, match="cannot be read") as raised:
        write(path)
    assert str(raised.value).count("\n") == 1


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="is no study"):
        write(tmp_path)


def test_it_starts_without_heavy_libraries():
    program = "import sys, eval.study\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())
