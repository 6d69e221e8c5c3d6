"""Whether its words can be read changes no exit code: what is done is done."""

import os
import subprocess
import sys

import pytest

from tests.support.commands import PROGRESS, ROOT, TINY, result
from tests.support.image_folders import write_classes

UNREAD = {
    "read by nobody": "| true",
    "full": "> /dev/full",
    "closed": ">&- 2>&- <&-",
}
ASCII = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}


def shell(*words: str, tail: str, env=None) -> tuple[int, str]:
    """Exit code and stderr of `python -m words tail`."""
    text = f'"$0" -m "$@" {tail}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", text, sys.executable, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=240, env=env,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


SHORT = [*TINY, "--train_steps=2", "--warmup_epochs=0"]


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(tail, id=name, marks=[pytest.mark.slow] * (name != "closed"))
        for name, tail in UNREAD.items()
    ],
)
def test_a_training_that_nobody_reads_is_finished(data_dir, tmp_path, tail):
    run_dir = tmp_path / "läufe"  # ASCII has no letter for it
    words = ["trainer.main", *SHORT, f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    code, said = shell(*words, tail=tail, env=ASCII)
    assert code == 0, said
    assert result(run_dir)["finished"]
    for line in (run_dir / "metrics.jsonl").read_text().splitlines():
        assert line.startswith('{"version"'), "a closed stdout became this file"
    code, said = shell(*words, tail=tail)
    assert code == 0, said
    assert ("No space left on device" in said) == ("full" in tail)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["trainer.prepare", "eval.report", "eval.compare", "eval.data"]
)
@pytest.mark.parametrize("tail", ["| true", "> /dev/full 2> /dev/full", ">&- 2>&- <&-"])
def test_other_commands_whose_work_lies_in_files(data_dir, run, command, tail):
    photos = write_classes(run.parent / "photos", {"a": 3, "b": 3})
    words = {
        "trainer.prepare": ["--dataset=digits", f"--data_dir={data_dir}"],
        "eval.report": [f"--run_dir={run}"],
        "eval.compare": [str(run), str(run), f"--out_dir={run.parent / 'out'}"],
        "eval.data": [f"--image_dir={photos}", f"--out_dir={run.parent / 'out'}"],
    }
    code, said = shell(command, *words[command], tail=tail)
    assert code == 0, said
    if command == "eval.data":
        assert (run.parent / "out" / "data.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "csv"])
def test_predictions_that_are_lost_are_a_failure(run, kind):
    photos = write_classes(run.parent / "photos", {"a": 3, "b": 3})
    words = ["eval.predict", f"--run_dir={run}", str(photos), f"--format={kind}"]
    code, said = shell(*words, tail="> /dev/full")
    assert code == 1, said
    assert "No space left on device" in said
    assert shell(*words, tail=">&-")[0] == 1
    code, said = shell(*words, tail="| true")
    assert (code, PROGRESS.sub("", said)) == (0, "")
    assert shell(*words, tail="> /dev/null 2>&-") == (0, "")


JOB = ["--name=a", "--image=i", "--volume=c:/runs", "--", "--epochs=3"]
PRINTS = {
    "trainer.main": ["--help"],
    "eval.report": ["--help"],
    "eval.predict": ["--help"],
    "eval.data": ["--help"],
    "export.tflite": ["--help"],
    "launch.local": ["--help"],
    "launch.kubernetes": ["--kind=job", *JOB],
}
# Commands of trainer, eval and export print their help by the same function.
QUICK = ("trainer.main", "launch.local", "launch.kubernetes")


@pytest.mark.parametrize(
    "module",
    [pytest.param(m, marks=[pytest.mark.slow] * (m not in QUICK)) for m in PRINTS],
)
def test_text_that_is_asked_for_and_lost_is_a_failure(module):
    code, said = shell(module, *PRINTS[module], tail="> /dev/full")
    assert (code, said.count("\n")) == (1, 1), said
    assert "No space left on device" in said
    assert shell(module, *PRINTS[module], tail="| true") == (0, "")
    code, said = shell(module, *PRINTS[module], tail=">&-")
    assert code == 1, said
    assert shell(module, *PRINTS[module], tail="> /dev/null", env=ASCII) == (0, "")


@pytest.mark.slow
def test_a_launched_job_that_nobody_reads_is_finished(data_dir, tmp_path):
    words = [*SHORT, f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    code, said = shell("launch.local", "--workers=1", "--", *words, tail="> /dev/full")
    assert code == 0, said
    assert result(tmp_path / "run")["finished"]
