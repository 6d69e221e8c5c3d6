"""One stage of a trial: its processes, and when they are ended."""

import pathlib
import signal
import time

from absl import flags

from export import bench
from export.measure.targets.target import BenchOptions
from launch.study.trial_plan import TrialTask
from launch.study.trial_records import TrialRecord
from launch.study.trial_run import TrialPlace, TrialPrograms, TrialRun
from tests.support.launch_jobs import CORES
from tests.support.studies import define, record

NOTHING = ("true",)


def trial(folder: pathlib.Path, programs: TrialPrograms, clock, **changes) -> TrialRun:
    """A trial that is trained in a single stage, in a study with `changes`."""
    return TrialRun(
        TrialTask(number=0, stage=0, pause_at=None, limits={}),
        record(0, state="running"),
        define(**changes),
        TrialPlace(
            run_dir=folder / "run",
            scratch=folder,
            cores=CORES[:1],
            gpus=[],
            hang_secs=300.0,
            max_restarts=0,
            programs=programs,
        ),
        clock=clock,
        say=print,
    )


def test_a_stopped_trial_has_the_grace_period_of_its_own_flags(tmp_path):
    """Also in a study that goes on without naming them again."""
    now, ready = [0.0], tmp_path / "ready"
    deaf = ("sh", "-c", f"trap '' TERM; touch {ready}; sleep 60; exit")
    words = ("--dataset=digits", "--grace_secs=120")
    programs = TrialPrograms(train=deaf)
    run = trial(tmp_path, programs, lambda: now[0], trainer_flags=words)
    try:
        run.poll()
        while not ready.exists():
            time.sleep(0.01)
        run.stop(signal.SIGTERM)
        for now[0], lives in ((134.0, True), (136.0, False)):
            run.poll()
            assert run.has_process == lives
    finally:
        run.kill()


def finished(folder: pathlib.Path, *objectives: str) -> tuple[TrialRecord, list[str]]:
    """The record of a trial, and the words that its bench was given."""
    words = folder / "words"
    told = ("sh", "-c", f'echo "$@" > {words}', "bench")
    programs = TrialPrograms(train=NOTHING, tflite=NOTHING, bench=told)
    run = trial(folder, programs, time.monotonic, objectives=objectives)
    while (found := run.poll()) is None:
        time.sleep(0.01)
    return found, words.read_text().split() if words.exists() else []


def test_latency_is_taken_from_a_bench_of_the_int8_file_alone(tmp_path):
    found, words = finished(tmp_path, "latency")
    assert found.reason == "export/bench.json has no row int8"
    values = bench.define(flags.FlagValues())
    values(["export.bench", *words])
    assert values.run_dir == str(tmp_path / "run")
    options = BenchOptions.from_words(values.targets, values.formats)
    assert options == BenchOptions(targets=(), formats=("int8",))


def test_bytes_need_no_bench(tmp_path):
    found, words = finished(tmp_path, "int8_bytes")
    assert found.reason == "export/model_int8.tflite is missing" and words == []
