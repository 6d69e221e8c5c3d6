"""A network of a user's file: exact as ours, and its run needs the file no more."""

import json
import shutil
import signal

import pytest

from tests.support.commands import ROOT, result, run_command, run_trainer
from tests.support.flag_values import read
from tests.support.multi_worker import finish, losses, start, start_in
from tests.support.resumed_runs import EXACT, SAME, assert_equal_runs, interrupt

SHORT = ["--train_steps=6", "--warmup_epochs=0"]
TWO = ["--strategy=mirrored", "--logical_devices=2"]


@pytest.fixture(scope="module")
def template_file(tmp_path_factory):
    """A copy of the template that tests may change."""
    folder = tmp_path_factory.mktemp("nets")
    return shutil.copy(ROOT / "examples" / "my_net.py", folder / "my_net.py")


@pytest.fixture(scope="module")
def trained(data_dir, template_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("user") / "run"
    words = [*SHORT, f"--model={template_file}:network"]
    run_trainer(data_dir, path, *words, check=True)
    return path


@pytest.fixture
def copied(trained, template_file, tmp_path):
    """A run that may be changed, and the command that resumes it with a file."""
    run = shutil.copytree(trained, tmp_path / "run")
    file = shutil.copy(template_file, tmp_path / "my_net.py")
    return run, file, [*SHORT, f"--model={file}:network"]


def test_a_run_keeps_the_file_and_what_was_built_from_it(trained, template_file):
    kept = trained / "source" / "my_net.py"
    assert kept.read_bytes() == template_file.read_bytes()
    recorded = json.loads((trained / "config.json").read_text())
    assert recorded["config"]["model"]["name"] == "my_net.py:network"
    assert recorded["run"]["model_file"] == str(template_file)
    assert (trained / "model.json").is_file()


@pytest.mark.slow
def test_a_run_needs_the_file_no_more(copied, data_dir):
    run, file, _ = copied
    file.unlink()
    where = f"--run_dir={run}"
    assert "are those of" in run_command("trainer.recheck", where, check=True).stdout
    run_command("eval.report", where, check=True)
    run_command("export.tflite", "--quantize", where, check=True)
    assert (run / "export" / "model_int8.tflite").is_file()


def test_a_resume_with_another_file_goes_on_if_it_builds_the_same(copied, data_dir):
    run, file, words = copied
    before = result(run)
    file.write_text(file.read_text() + "\n# a comment\n")
    done = run_trainer(data_dir, run, *words, check=True)  # a finished run is only read
    assert "my_net.py:network has changed since" in done.stderr
    (run / "result.json").unlink()
    done = run_trainer(data_dir, run, *words, check=True)
    assert "builds the same network: going on" in done.stderr
    assert "resumed" in done.stderr
    assert [result(run)[key] for key in SAME] == [before[key] for key in SAME]


def test_a_resume_with_a_file_that_builds_another_network_is_refused(copied, data_dir):
    run, file, words = copied
    (run / "result.json").unlink()
    listed = sorted(run.rglob("*"))
    file.write_text(file.read_text().replace("3, padding", "5, padding"))
    done = run_trainer(data_dir, run, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()[-2:]) == 2
    assert "my_net.py:network builds another network than" in done.stderr
    assert "kernel_size" in done.stderr and "source has its file" in done.stderr
    assert sorted(run.rglob("*")) == listed


def test_an_error_in_the_file_ends_the_command_and_nothing_is_written(
    data_dir, tmp_path
):
    (tmp_path / "my_net.py").write_text("def network(x, num_classes):\n    return y\n")
    words = [f"--model={tmp_path}/my_net.py:network", "--model_kwargs="]
    done = run_trainer(data_dir, tmp_path / "run", *words)
    assert done.returncode == 2
    said = "cannot be built: NameError: name 'y' is not defined"
    assert said in done.stderr.splitlines()[-2]
    assert "my_net.py, line 2" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["network", "model"])
def test_killed_and_resumed_equals_never_killed(
    data_dir, template_file, tmp_path, name
):
    words = [f"--model={template_file}:{name}", "--train_steps=48", *TWO]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_trainer(data_dir, whole, *EXACT, *words, check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    run_trainer(data_dir, cut, *EXACT, *words, "--steps_per_call=5", check=True)
    assert_equal_runs(whole, cut)


@pytest.mark.slow
def test_two_replicas_learn_as_one_does_in_float64(data_dir, template_file, tmp_path):
    words = [
        f"--model={template_file}:network",
        "--precision=float64",
        "--train_steps=20",
    ]
    words += ["--log_every_steps=1", "--sync_batch_norm", "--model_kwargs=dropout=0.3"]
    words += ["--validation_fraction=0"]  # evaluation is in float32
    run_trainer(data_dir, tmp_path / "one", *words, check=True)
    run_trainer(data_dir, tmp_path / "two", *words, *TWO, check=True)
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True)
    assert all(abs(a - b) <= 1e-9 for a, b in pairs)


@pytest.mark.slow
def test_two_workers_end_in_the_bits_of_one_process(data_dir, template_file, tmp_path):
    words = [*SHORT, f"--model={template_file}:network", "--accumulate_steps=2"]
    done = finish(start(data_dir, tmp_path / "two", *words))
    assert [code for code, _ in done] == [0, 0], done
    run_trainer(data_dir, tmp_path / "one", *words, "--threads=1", check=True)
    two, one = result(tmp_path / "two"), result(tmp_path / "one")
    assert [two[key] for key in SAME] == [one[key] for key in SAME]


@pytest.mark.slow
def test_workers_with_other_files_are_refused(data_dir, template_file, tmp_path):
    other = tmp_path / "my_net.py"
    other.write_text(template_file.read_text() + "\n# another\n")
    words = ["--hang_secs=20", f"--model={template_file}:network"]
    second = [f"--model={other}:network"]
    paths = [tmp_path / "run"] * 2
    done = finish(start_in(data_dir, paths, *words, second=second))
    assert {code for code, _ in done} == {2}, done
    assert all("source_sha256" in text for _, text in done)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_workers_whose_files_import_other_modules_are_refused(data_dir, tmp_path):
    code = (
        "import keras\nfrom blocks_of_mine import WIDTH\n"
        "def network(x, num_classes, *, width: float = 1.0):\n"
        "    x = keras.layers.Dense(WIDTH)(keras.layers.Flatten()(x))\n"
        "    return keras.layers.Dense(num_classes)(x)\n"
    )
    for width in (3, 4):
        (tmp_path / str(width)).mkdir()
        (tmp_path / str(width) / "my_net.py").write_text(code)
        module = tmp_path / str(width) / "blocks_of_mine.py"
        module.write_text(f"WIDTH = {width}\n")
    words, second = (
        [f"--model={tmp_path}/{width}/my_net.py:network"] for width in (3, 4)
    )
    done = finish(start_in(data_dir, [tmp_path / "run"] * 2, *words, second=second))
    assert {code for code, _ in done} == {2}, done
    said = "worker 1 has built another network than worker 0"
    assert all(said in text for _, text in done)
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_words_of_one_option_are_one_config():
    parts, shards = read("--accumulate_steps=4"), read("--elastic_shards=4")
    assert parts[0] == shards[0]
    assert parts[0].elastic_shards == 4
