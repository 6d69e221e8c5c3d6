"""Jobs of launchers: batch scripts, plans of a supervisor, stand-in trainers."""

import os
import pathlib
import shutil
import sys

from absl import flags

from launch.platforms import slurm
from launch.supervisor.job_supervisor import JobPlan
from launch.trainer_command import TrainerCommand
from tests.support.commands import ROOT

FAKE = (sys.executable, str(ROOT / "tests" / "support" / "fake_trainer.py"))
CORES = sorted(os.sched_getaffinity(0))
# Commands that print a job.
SLURM = ["slurm", "--name=a"]
CLUSTER = [
    "kubernetes",
    "--kind=job",
    "--name=a",
    "--image=i",
    "--volume=runs:/runs",
]
NETWORK = "--network=projects/1/global/networks/n"
VERTEX = ["vertex", "--name=a", "--image=i", "--nfs=10.0.0.1:/x:y", NETWORK]


def install_trainer(folder: pathlib.Path, main: str) -> None:
    """A package `trainer` in `folder` whose main module is the text `main`."""
    package = folder / "trainer"
    package.mkdir()
    (package / "cli").mkdir()
    for name in ("__init__", "cli/__init__", "cli/check"):
        (package / f"{name}.py").touch()
    for name in ("contract", "streams"):
        shutil.copy(ROOT / "trainer" / f"{name}.py", package)
    (package / "main.py").write_text(main)


def script(*words, trainer=("--epochs=3",)):
    values = flags.FlagValues()
    slurm.define(values)
    values(["", "--name=cnn", "--workers=2", *words])
    return slurm.build_script(values, list(trainer))


def put(path, text):
    path.write_text(text)
    path.chmod(0o755)


def output_of(process, secs=300):
    """All that it wrote; ends it if it does not end by itself."""
    try:
        return process.communicate(timeout=secs)[0].decode()
    finally:
        process.kill()


def plan(run_dir, *arguments, workers=2, **changes):
    return JobPlan(
        trainer=TrainerCommand.from_flags(arguments, default_run_dir=str(run_dir)),
        cores=[[CORES[i % len(CORES)]] for i in range(workers)],
        gpus=[[] for _ in range(workers)],
        **{
            "train": FAKE,
            "prepare": None,
            "settle_secs": 4.0,
            "first_backoff_secs": 0.05,
            **changes,
        },
    )
