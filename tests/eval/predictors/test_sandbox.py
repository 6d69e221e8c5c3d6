"""A foreign model file never ends a command without a word that names it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from eval.predictors import sandbox, tflite_predictor
from tests.support import eval_models, forged_tflite
from tests.support.commands import ROOT, run_command
from trainer.errors import InvalidInput

CRASHING = (181, 212, 329)  # seeds that end a process with SIGSEGV


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("foreign") / "plain.tflite"
    return eval_models.tflite(path).read_bytes()


def opened(path: pathlib.Path, content: bytes) -> str:
    """What is said of the file; "" if it can be opened."""
    path.write_bytes(content)
    try:
        tflite_predictor.TfliteModel(path)
    except InvalidInput as error:
        assert str(path) in str(error)
        assert len(str(error).splitlines()) <= 2
        return str(error)
    return ""


def test_a_file_that_would_end_the_process_is_named(plain, tmp_path):
    said = [
        opened(tmp_path / f"{seed}.tflite", forged_tflite.edited(plain, seed))
        for seed in (*CRASHING, *range(5))
    ]
    said.append(opened(tmp_path / "x.tflite", forged_tflite.flipped(plain, 0)))
    assert any("ended the process that tried it with SIGSEGV" in line for line in said)
    assert opened(tmp_path / "plain.tflite", plain) == ""


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("change", [forged_tflite.edited, forged_tflite.flipped])
def test_no_edited_file_does_more_than_be_named(plain, tmp_path, change):
    for seed in range(150):
        content = change(plain, 1000 + seed)
        opened(tmp_path / f"{seed}.tflite", content)


@pytest.mark.parametrize("name", ["report", "compare"])
def test_a_command_names_it_and_exits_2(
    name, plain, monkeypatch, capfd, tmp_path, data_dir
):
    path = tmp_path / "crash.tflite"
    edits = (forged_tflite.edited(plain, seed) for seed in CRASHING)
    next(edit for edit in edits if "SIGSEGV" in opened(path, edit))
    words = [f"--model={path}"] if name == "report" else [str(path), str(path)]
    words += ["--dataset=digits", f"--data_dir={data_dir}", f"--out_dir={tmp_path}/o"]
    ended = eval_models.command(monkeypatch, capfd, name, *words)
    assert ended.code == 2
    assert [line for line in ended.err if str(path) in line and "SIGSEGV" in line]
    assert not (tmp_path / "o").exists()


class Aborting(tf.Module):
    """A SavedModel whose operator ends the process that asks it."""

    @tf.function
    def call(self, images):
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="evil")]):
            return {"answers": tf.reduce_mean(images, [1, 2])[:, :1] + tf.zeros(10)}


@pytest.mark.faults
@pytest.mark.parametrize("name", ["report", "compare"])
def test_a_saved_model_that_ends_the_process_is_named(name, tmp_path, data_dir):
    path, module = tmp_path / "evil", Aborting()
    spec = tf.TensorSpec([None, 32, 32, 3], tf.float32, name="images")
    signature = module.call.get_concrete_function(spec)
    tf.saved_model.save(module, str(path), {"serving_default": signature})
    words = [f"--model={path}"] if name == "report" else [str(path), str(path)]
    words += ["--dataset=digits", f"--data_dir={data_dir}", f"--out_dir={tmp_path}/o"]
    done = run_command(f"eval.{name}", *words)
    assert done.returncode == 2, done
    last = done.stderr.splitlines()[-1]
    assert str(path) in last and "SIGABRT" in last
    assert not (tmp_path / "o").exists()


def test_a_file_that_takes_too_much_memory_is_named(tmp_path):
    def greedy(x):
        return x + tf.cumsum(tf.fill([2**26], x[0, 0]))[-1]

    path = eval_models.tflite(tmp_path / "greedy.tflite", answer=greedy)
    with pytest.raises(InvalidInput, match=r"greedy.* 134,\d{3},\d{3} bytes"):
        sandbox.check_file(path, path.read_bytes(), 0, memory=2**27)
    sandbox.check_file(path, path.read_bytes(), 0, memory=2**31)


def test_a_file_that_does_not_end_is_named(tmp_path, monkeypatch, capfd):
    def endless(x):
        return tf.while_loop(lambda y: y[0, 0] < 1e9, lambda y: [y * 0], [x * 0])[0]

    path = eval_models.tflite(tmp_path / "endless.tflite", answer=endless)
    monkeypatch.setattr(sandbox, "SECS", 2)
    monkeypatch.setattr(sandbox, "PATIENCE_SECS", 1)
    with pytest.raises(InvalidInput, match="took more than 2 s"):
        sandbox.check_file(path, path.read_bytes(), 0)
    assert f"trying {path} in a process of its own" in capfd.readouterr().err


WORKS = {
    "pass": (0, ""),
    "os.kill(os.getpid(), signal.SIGSEGV)": (2, "SIGSEGV"),
    "os.abort()": (2, "SIGABRT"),
    "os.kill(os.getpid(), signal.SIGKILL)": (2, "SIGKILL"),
    "os.kill(os.getpid(), signal.SIGTERM)": (-signal.SIGTERM, ""),
    "raise InvalidInput('wrong')": (2, "wrong"),
    "raise TrainingFailed('failed')": (1, "failed"),
    "raise KeyError('odd')": (1, "odd"),
    "raise KeyboardInterrupt": (130, "SIGINT"),
}


def script(work: str, names: list[str]) -> list[str]:
    text = f"""
import os, signal, sys, time
from absl import flags
from eval.predictors import sandbox
from trainer.cli import command
from trainer.errors import TrainingFailed, InvalidInput
def work():
    print("begun", flush=True)
    {work}
    print("done")
sys.argv = ["eval.report"]
sandbox.run_supervised("eval.report", lambda: command.run(
    "eval.report", "", flags.FlagValues(), work), {names})
"""
    return [sys.executable, "-c", text]


@pytest.mark.parametrize("work", WORKS)
def test_how_the_second_process_ends_is_how_the_command_ends(work):
    code, said = WORKS[work]
    done = subprocess.run(
        script(work, ["x.pb"]), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done
    assert done.stdout == ("begun\ndone\n" if code == 0 else "begun\n")
    lines = done.stderr.splitlines()
    assert len(lines) == bool(said)
    assert said in done.stderr
    assert ("x.pb" in done.stderr) == (said.startswith("SIG") and code == 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_command_reaches_its_work(number):
    work = "print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen(
        script(work, ["x.pb"]), cwd=ROOT, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.PIPE,
        # In the background of a shell SIGINT is ignored, which a process inherits.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as started:  # fmt: skip
        started.stdout.readline()
        child = int(started.stdout.readline())
        started.send_signal(number)
        expected = 130 if number == signal.SIGINT else -number
        assert started.wait(timeout=30) == expected
        ended = time.monotonic() + 30
        while pathlib.Path(f"/proc/{child}").exists() and time.monotonic() < ended:
            os.sched_yield()
        assert not pathlib.Path(f"/proc/{child}").exists()


def test_without_foreign_files_there_is_one_process():
    work = "assert os.getppid() == int(os.environ['PARENT'])"
    done = subprocess.run(
        script(work, []), cwd=ROOT, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PARENT": str(os.getpid())},
    )  # fmt: skip
    assert done.returncode == 0, done
