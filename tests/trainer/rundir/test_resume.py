"""All workers restore what the chief chose, or all end with 175 and say who did not."""

import shutil

import pytest

from tests.support.commands import result, run_trainer
from tests.support.multi_worker import finish, start_in
from trainer.rundir import checkpoints
from trainer.rundir.weights import eval_weights, raw_weights, weights_sha256

WORDS = ["--checkpoint_every_steps=6", "--validation_fraction=0"]


@pytest.fixture
def places(data_dir, tmp_path):
    """A run to be resumed as two workers see it: the same, in two copies."""
    chief, other = tmp_path / "chief", tmp_path / "other"
    run_trainer(data_dir, chief, *WORDS, check=True)
    (chief / "result.json").unlink()
    checkpoints.remove(checkpoints.step_folder(chief / "checkpoints", 24))
    (chief / "workers").mkdir()
    shutil.copytree(chief, other)
    (other / "workers").rmdir()
    (other / "workers").symlink_to(chief / "workers")
    return chief, other


def resume(data_dir, places) -> list[tuple[int, str]]:
    return finish(start_in(data_dir, places, *WORDS))


def assert_both_end_and_name(done, *named: str) -> None:
    assert [code for code, _ in done] == [175, 175], done
    for _, said in done:
        assert "Traceback" not in said
        for words in named:
            assert words in said


@pytest.mark.slow
def test_another_content_of_the_same_step_ends_all(data_dir, places):
    path = checkpoints.step_folder(places[1] / "checkpoints", 18)
    found = checkpoints.load(path)
    arrays = {name: array * 2 for name, array in found.arrays.items()}
    facts = found.facts | {
        "weights_sha256": weights_sha256(eval_weights(arrays)),
        "raw_weights_sha256": weights_sha256(raw_weights(arrays)),
    }
    del facts["files"], facts["manifest_sha256"]
    checkpoints.save(path.parent, arrays, facts)
    done = resume(data_dir, places)
    assert_both_end_and_name(done, "worker 1 restored step 18", "worker 0 step 18")


@pytest.mark.slow
def test_a_checkpoint_that_one_cannot_read_ends_all(data_dir, places):
    checkpoints.remove(checkpoints.step_folder(places[1] / "checkpoints", 18))
    done = resume(data_dir, places)
    assert_both_end_and_name(done, "worker 1 restored step 0", "worker 0 step 18")


@pytest.mark.slow
def test_a_worker_with_other_newest_ones_follows_the_chief(data_dir, places):
    checkpoints.remove(checkpoints.step_folder(places[0] / "checkpoints", 18))
    done = resume(data_dir, places)
    assert [code for code, _ in done] == [0, 0], done
    assert "after step 12" in done[0][1]
    assert result(places[0])["steps"] == 24
