"""The batch script, executed by bash with a fake srun and a fake scontrol."""

import json
import os
import subprocess
import sys

import pytest
from absl import flags

from launch.platforms import slurm
from tests.support.commands import ROOT
from tests.support.launch_jobs import install_trainer, put, script


def submit(tmp_path, text, codes, *, state="RUNNING"):
    """Runs `text`; the n-th srun exits with the n-th of `codes`.

    Returns the exit code, what scontrol and srun were called with, and stderr.
    """
    tools = tmp_path / "bin"
    tools.mkdir()
    calls = tmp_path / "calls"
    (tmp_path / "codes").write_text("\n".join(map(str, codes)) + "\n")
    put(tools / "sleep", "#!/bin/bash\n")
    put(
        tools / "scontrol",
        f'#!/bin/bash\necho "scontrol $*" >> {calls}\necho "Id=7 JobState={state}"\n',
    )
    put(
        tools / "srun",
        f"#!/bin/bash\nprintf '%q ' srun \"$@\" >> {calls}; echo >> {calls}\n"
        f"code=$(head -1 {tmp_path}/codes); sed -i 1d {tmp_path}/codes; exit $code\n",
    )
    done = subprocess.run(
        ["bash", "-c", text],
        env={"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.returncode, calls.read_text().splitlines(), done.stderr


def test_bash_reads_it(tmp_path):
    path = tmp_path / "job.sh"
    path.write_text(script("--env=A=it's", "--setup=module load cuda"))
    assert subprocess.run(["bash", "-n", path]).returncode == 0


def test_directives():
    text = script("--cpus=8", "--gpus=4", "--memory=64G", "--time=1-02:00:00")
    for line in (
        "--job-name=cnn",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=8",
        "--gpus-per-node=4",
        "--mem=64G",
        "--time=1-02:00:00",
        "--signal=USR1@90",
        "--requeue",
    ):
        assert f"\n#SBATCH {line}\n" in text
    assert "USR1@160" in script(trainer=["--grace_secs=100"])


@pytest.mark.parametrize(
    ("codes", "code", "starts", "queued"),
    [
        ([0], 0, 1, False),
        ([1], 1, 1, False),
        ([2], 2, 1, False),
        ([130], 130, 1, False),
        ([129], 129, 1, True),
        ([138], 138, 1, True),
        ([143], 143, 1, True),
        ([175, 0], 0, 2, False),
        ([137, 139, 138], 138, 3, True),
        ([175, 175, 175, 175], 175, 3, False),
        ([77], 77, 1, False),
    ],
)
def test_exit_codes(tmp_path, codes, code, starts, queued):
    got, calls, _ = submit(tmp_path, script("--max_restarts=2"), codes)
    assert got == code
    assert sum(call.startswith("srun") for call in calls) == starts
    assert ("scontrol requeue 7" in calls) == queued


def test_a_cancelled_job_stays_cancelled(tmp_path):
    code, calls, _ = submit(tmp_path, script(), [143], state="CANCELLED")
    assert code == 143
    assert "scontrol requeue 7" not in calls


def test_the_trainer_gets_its_flags_as_they_are(tmp_path):
    flags = ["--data_dir=/a b", "--x=$HOME", "--y=it's"]
    text = script("--image=a/b:1", "--volume=/s:/r", trainer=flags)
    _, calls, _ = submit(tmp_path, text, [0])
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {calls[0]}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert "--container-image=a/b:1" in words
    assert "--container-mounts=/s:/r" in words
    after = words[words.index("--") + 1 :]
    assert after == [*flags, "--run_dir=runs/cnn", "--strategy=multi_worker"]


SRUN = """#!{python}
import os, subprocess, sys
command = sys.argv[1:]
while command[0].startswith("--"):
    command = command[1:]
tasks = []
for task in range(2):
    environment = dict(os.environ, SLURM_PROCID=str(task), SLURM_JOB_ID="7",
                       SLURM_STEP_NODELIST="localhost", SLURM_STEP_TASKS_PER_NODE="2",
                       SLURM_DISTRIBUTION="block")
    tasks.append(subprocess.Popen(command, env=environment))
sys.exit(max(task.wait() for task in tasks))
"""


def test_two_tasks_meet_and_become_the_trainer(tmp_path):
    """Everything but SLURM and the training is real."""
    install_trainer(
        tmp_path,
        "import os, sys, pathlib\n"
        "pathlib.Path(f'config{os.environ[\"SLURM_PROCID\"]}').write_text("
        "os.environ['TF_CONFIG'])\n",
    )
    put(tmp_path / "srun", SRUN.format(python=sys.executable))
    put(tmp_path / "python", f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    done = subprocess.run(
        ["bash", "-c", script("--workers=1")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    configs = [json.loads((tmp_path / f"config{i}").read_text()) for i in range(2)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert [config["task"]["index"] for config in configs] == [0, 1]


def test_an_array_takes_the_trials_of_a_study(tmp_path):
    """Each job is one task; the study says who works on what."""
    values = flags.FlagValues()
    slurm.define(values)
    values(["", "--name=lr", "--array=8", "--cpus=4"])
    text = slurm.build_script(values, ["--study_dir=/s/a b"])
    for line in ("--array=0-7", "--nodes=1", "--output=%x-%A_%a.log"):
        assert f"\n#SBATCH {line}\n" in text
    code, calls, _ = submit(tmp_path, text, [175, 138])
    assert code == 138
    assert "scontrol requeue 7" in calls
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {calls[0]}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert words[-4:] == ["python", "-m", "launch.sweep", "--study_dir=/s/a b"]
