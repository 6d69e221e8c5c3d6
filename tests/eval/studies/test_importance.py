"""Importance: what decides is found, what does not is 0 on average."""

import numpy as np

from eval.studies import importance, study_data
from tests.support import fake_studies


def test_the_flag_that_decides_comes_first(tmp_path):
    study = study_data.load_study(
        fake_studies.write(tmp_path / "s", configurations=24, seeds=1, effect=0.1)
    )
    found = importance.measure(study)
    assert found["configurations"] == 24
    assert found["epoch"] == 4.0
    shares = {row["flag"]: row["share"] for row in found["flags"]}
    assert found["flags"][0]["flag"] == "learning_rate"
    assert shares["learning_rate"] > 0.5 > shares["model_kwargs.width"]


def test_a_flag_without_effect_is_nothing_on_average():
    draws = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 6)
    shares = [importance._share(draws.normal(size=24), groups) for _ in range(300)]
    assert abs(np.mean(shares)) < 0.03


def test_few_configurations_tell_nothing(tmp_path):
    path = fake_studies.write(tmp_path / "s", configurations=2, seeds=9)
    assert importance.measure(study_data.load_study(path)) is None


def test_numbers_are_grouped_by_quantiles_and_words_by_themselves():
    assert importance.group(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert importance.group([True, False, True]).tolist() == [1, 0, 1]
    found = importance.group([float(n) for n in range(20)])
    assert np.bincount(found).tolist() == [5, 5, 5, 5]
