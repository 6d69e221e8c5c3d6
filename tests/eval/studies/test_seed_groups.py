"""Groups of seeds: what names one, and intervals that cover the true difference."""

import json

import numpy as np
import pytest

from eval.studies import group_statistics, seed_groups
from tests.support import fake_studies
from trainer.errors import InvalidInput


def test_a_study_stands_for_its_best_configuration(tmp_path):
    path = fake_studies.write(tmp_path / "s", configurations=4, seeds=2)
    assert seed_groups.is_group(str(path))
    best = seed_groups.find_group(str(path))
    assert best.candidates == 4
    assert best.expected_maximum_of_noise > 0
    named = seed_groups.find_group(f"{path}:3")
    assert named.name == "s:3"
    assert [run.name for run in named.runs] == ["6", "7"]
    assert named.candidates == 1
    folder = seed_groups.find_group(str(path / "trials"))
    assert len(folder.runs) == 8
    assert not seed_groups.is_group(str(path / "trials" / "0"))


@pytest.mark.parametrize("word", ["s:9", "s/trials/0", "nothing", "empty"])
def test_others_are_refused_in_two_lines(tmp_path, word):
    path = fake_studies.write(tmp_path / "s", configurations=2, seeds=2)
    empty = fake_studies.write(tmp_path / "empty", configurations=1)
    (empty / "trials.json").write_text(json.dumps({"trials": []}))
    assert path.exists()
    with pytest.raises(InvalidInput) as raised:
        seed_groups.find_group(str(tmp_path / word))
    assert str(raised.value).count("\n") == 1


def draw(draws, difficulty, shift, seeds, noise):
    chance = difficulty + shift + draws.normal(0, noise, seeds)[:, None]
    return draws.uniform(size=(seeds, len(difficulty))) < np.clip(chance, 0, 1)


@pytest.mark.parametrize("rounds", [60, pytest.param(150, marks=pytest.mark.slow)])
def test_intervals_of_a_difference_cover_the_truth(rounds):
    draws = np.random.default_rng(1)
    hits = 0
    for _ in range(rounds):
        difficulty = draws.uniform(0.5, 0.9, 200)
        one = draw(draws, difficulty, 0.0, 4, 0.02)
        two = draw(draws, difficulty, 0.05, 5, 0.02)
        low, high = group_statistics.compare(one, two)["over_both"]
        hits += low <= 0.05 <= high
    assert hits / rounds > 0.93


def test_seeds_that_vary_and_images_that_vary_are_told_apart():
    draws = np.random.default_rng(0)
    difficulty = draws.uniform(0.5, 0.9, 400)
    wild = group_statistics.compare(
        draw(draws, difficulty, 0, 3, 0.1), draw(draws, difficulty, 0, 3, 0.1)
    )
    calm = group_statistics.compare(
        draw(draws, difficulty, 0, 3, 0.0), draw(draws, difficulty, 0, 3, 0.0)
    )

    def width(ends):
        return ends[1] - ends[0]

    assert width(wild["over_seeds"]) > 2 * width(calm["over_seeds"])
    assert width(wild["over_images"]) < 1.5 * width(calm["over_images"])
    assert width(wild["over_both"]) > width(wild["over_seeds"])


def test_a_group_equals_itself_and_one_seed_tells_nothing_of_seeds():
    right = np.random.default_rng(0).uniform(size=(3, 50)) < 0.8
    same = group_statistics.compare(right, right)
    assert same["difference"] == 0 == same["over_images"][0]
    single = group_statistics.compare(right[:1], right)
    assert single["over_seeds"] is single["over_both"] is None
    assert single["over_images"] is not None
