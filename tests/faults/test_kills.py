"""SIGKILL at random moments, saves included: not one result differs."""

import random
import time

import pytest

from tests.support import jobs
from tests.support.resumed_runs import assert_equal_runs

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
KILLS = 9  # of each case
STEPS = 600
LONG = [f"--train_steps={STEPS}", "--eval_every_epochs=5", "--log_every_steps=20"]
CASES = [(model, place) for model in ("cnn", "resnet8") for place in jobs.PLACES]


def interrupted(
    job, run_dir, generator: random.Random, kill_number: int
) -> tuple[bool, bool]:
    """Starts the job and kills it after it saved.

    Returns whether it was killed before it ended by itself, and whether it was saving.
    """
    before = jobs.newest_step(run_dir)
    processes = job(run_dir)
    if jobs.wait_until(lambda: jobs.newest_step(run_dir) > before, processes):
        if kill_number % 3 == 0:
            jobs.wait_until(lambda: jobs.saving(run_dir), processes)
        else:
            time.sleep(generator.uniform(0, 0.8))
        in_save = jobs.saving(run_dir)
        if jobs.kill(processes):
            return True, in_save
    done = jobs.finish(processes)
    assert [code for code, _ in done] == [0] * len(done), done
    return False, False


@pytest.mark.parametrize(("model", "place"), CASES)
def test_killed_runs_end_like_the_one_never_killed(data_dir, tmp_path, model, place):
    generator = random.Random(f"{model} {place}")
    words = [*jobs.EXACT, *LONG, f"--model={model}"]

    def job(run_dir, *more):
        return jobs.launch(place, data_dir, run_dir, *words, *more)

    done = jobs.finish(job(tmp_path / "whole"))
    assert [code for code, _ in done] == [0] * len(done), done
    kills, saving, cut = 0, 0, tmp_path / "cut-0"
    while kills < KILLS:
        killed, in_save = interrupted(job, cut, generator, kills)
        if killed:
            kills, saving = kills + 1, saving + in_save
        else:  # it was faster than its killer: compare, and start another
            assert_equal_runs(tmp_path / "whole", cut)
            cut = tmp_path / f"cut-{kills}"
    assert [code for code, _ in jobs.finish(job(cut, "--steps_per_call=5"))] == [
        0
    ] * len(done)
    assert_equal_runs(tmp_path / "whole", cut)
    print(f"\n{model} {place}: {kills} kills, {saving} of them while saving")
    assert saving, "no kill hit a save: the law was not tested"
