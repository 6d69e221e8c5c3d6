"""The table: intervals, the luck of the best, the front, and a hash without times."""

import dataclasses
import json

import pytest

from launch.study import study_table
from launch.study.study_table import build_table, expected_maximum
from tests.support.studies import define, record


@pytest.mark.parametrize(
    ("count", "expected"),
    # Order statistics of normal samples: Harter 1961, table 1.
    [(1, 0.0), (2, 0.56419), (3, 0.84628), (10, 1.53875), (100, 2.50759)],
)
def test_the_expected_maximum_is_the_tabled_one(count, expected):
    assert expected_maximum(count) == pytest.approx(expected, abs=2e-5)


def test_the_interval_is_that_of_the_toolkit():
    from trainer.models.intervals import wilson_interval

    for correct, total in [(0, 10), (10, 10), (431, 500)]:
        found = study_table.wilson_interval(correct / total, total)
        assert found == pytest.approx(wilson_interval(correct, total), abs=1e-12)


def test_seeds_and_images_are_told_apart():
    definition = define(trials=4, seeds=2)
    scores = (0.8, 0.9, 0.7, 0.7)
    records = {n: record(n, s, seeds=2) for n, s in enumerate(scores)}
    table = build_table(definition, records)
    first, second = table["configurations"]
    assert first["mean"] == pytest.approx(0.85)
    assert first["std"] == pytest.approx(0.0707106781)
    assert first["interval_images"] == pytest.approx(
        study_table.wilson_interval(0.85, 500)
    )
    assert (first["rank"], second["rank"]) == (1, 2)
    winner = table["winner"]
    variance = 0.775 * 0.225 / 500 + (0.005 + 0) / 2 / 2
    assert winner["noise"] == pytest.approx(variance**0.5)
    assert winner["expected_maximum_of_noise"] == pytest.approx(
        0.56419 * variance**0.5, rel=1e-4
    )


def test_the_hash_leaves_out_times_and_places():
    definition = define(trials=2)
    records = {n: record(n, 0.5, seconds=1.0) for n in range(2)}
    first = build_table(definition, records)["table_sha256"]
    moved = dataclasses.replace(records[1], seconds=9.0, run_dir="/x", reason="y")
    assert build_table(definition, records | {1: moved})["table_sha256"] == first
    other = dataclasses.replace(records[1], weights_sha256="0")
    assert build_table(definition, records | {1: other})["table_sha256"] != first


def test_the_front_has_what_nothing_beats():
    definition = define(trials=4, objectives=("accuracy", "seconds"))
    values = [(0.9, 10), (0.8, 5), (0.7, 7), (0.9, 10)]
    records = {
        n: record(n, a, values={"accuracy": a, "seconds": s})
        for n, (a, s) in enumerate(values)
    }
    assert study_table.find_front(definition, records) == {0, 1, 3}


def test_files_are_written_with_flags_as_columns(tmp_path):
    definition = define(trials=1)
    table = study_table.write_table(tmp_path, definition, {0: record(0, 0.5)})
    assert json.loads((tmp_path / "trials.json").read_text()) == table
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert "flag.learning_rate" in lines[0]
    assert len(lines) == 2
