"""Storage that cannot keep a run is found out before the first step, with a remedy.

It is emulated: a library compiled here is loaded before the C library and lets calls on
paths below a folder fail as mounted buckets, CIFS, Lustre and full disks do.
"""

import errno
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import ROOT, TINY, result, run_command
from tests.support.run_directories import begin
from trainer import storage
from trainer.config.run_config import RunConfig
from trainer.errors import Interrupted, InvalidInput, TrainingFailed
from trainer.rundir import checkpoints, checks
from trainer.rundir.layout import Run

SHORT = [*TINY, "--train_steps=2", "--warmup_epochs=0"]


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to compile the failing storage with")
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    source = ROOT / "tests" / "support" / "storage_shim.c"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"]
    subprocess.run(words, check=True)
    return str(made)


@pytest.fixture
def failing(library, tmp_path):
    """Runs Python words on a storage in tmp_path / "disk" that fails as told."""
    (tmp_path / "disk").mkdir()

    def run(words: list[str], when: pathlib.Path | None = None, **kinds: int):
        told = "".join(f",{kind}={number}" for kind, number in kinds.items())
        variables = {"LD_PRELOAD": library, "SHIM_FAIL": told}
        variables["SHIM_PREFIX"] = str(tmp_path / "disk")
        if when is not None:
            variables["SHIM_WHEN"] = str(when)
        return subprocess.run(
            [sys.executable, *words],
            cwd=ROOT, env=os.environ | variables, timeout=240,
            capture_output=True, text=True,
        )  # fmt: skip

    return run


def left(folder: pathlib.Path) -> list[str]:
    """What a probe or a write in progress would be called."""
    return [
        str(p) for p in folder.rglob(".*") if "tmp-" in p.name or "writing" in p.name
    ]


# What each call may not do, how the system says it, what the message has to say.
UNFIT = {
    "rename_folder": (errno.EOPNOTSUPP, "rename a folder"),  # mounted buckets
    "rename_file": (errno.ENOSYS, "rename a file"),
    "append": (errno.EOPNOTSUPP, "append to a file"),
    "pwrite": (errno.EOPNOTSUPP, "write into a renamed file"),
    "ftruncate": (errno.EPERM, "append to a file and cut it"),
    "fsync_file": (errno.EINVAL, "flush a file"),
    "mkdir": (errno.EROFS, "make a folder"),
    "create": (errno.EACCES, "create and write a file"),
    "write": (errno.EDQUOT, "create and write a file"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_a_run_needs_is_tried_before_anything_is_written(failing, tmp_path, kind):
    number, words = UNFIT[kind]
    run_dir = tmp_path / "disk" / "runs" / "a"
    words_given = ["-m", "trainer.main", *SHORT, f"--run_dir={run_dir}"]
    done = failing(words_given, **{kind: number})
    assert done.returncode == 2, done.stderr
    assert f"cannot {words}" in done.stderr
    assert os.strerror(number) in done.stderr
    assert done.stderr.count("\n") == 2, done.stderr
    assert list((tmp_path / "disk").iterdir()) == []


RESTARTS = {
    ("write", errno.ENOSPC): 175,
    ("fsync_file", errno.EIO): 175,
    ("create", errno.ESTALE): 175,
    ("rename_folder", errno.ETIMEDOUT): 175,
    ("rename_folder", errno.EOPNOTSUPP): 2,
    ("create", errno.EROFS): 2,
    ("create", errno.EACCES): 2,
}


@pytest.mark.parametrize(("fault", "code"), RESTARTS.items(), ids=str)
def test_at_a_restart_what_passes_is_175(failing, tmp_path, fault, code):
    there = begin(tmp_path / "disk" / "run").path
    done = failing(["-m", "trainer.main", f"--run_dir={there}"], **dict([fault]))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 2, done.stderr
    assert left(there) == []


@pytest.mark.slow
def test_folders_without_fsync_and_files_without_locks_do(failing, tmp_path):
    """As CIFS and Lustre are; also a data set is prepared there."""
    disk = tmp_path / "disk"
    where = [f"--data_dir={disk / 'data'}", f"--run_dir={disk / 'runs' / 'a'}"]
    done = failing(
        ["-m", "trainer.main", *SHORT, *where],
        fsync_folder=errno.EINVAL, flock=errno.ENOSYS, symlink=errno.EOPNOTSUPP,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert result(disk / "runs" / "a")["finished"]
    assert f"{disk / 'runs' / 'latest'} cannot be updated" in done.stderr
    assert left(disk) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(errno.EROFS, 1), (errno.EOPNOTSUPP, 1), (errno.ENOSPC, 175)]
)
def test_what_comes_later_keeps_the_checkpoint_before(
    failing, data_dir, tmp_path, number, code
):
    run_dir = tmp_path / "disk" / "run"
    words = ["--checkpoint_every_steps=10", "--steps_per_call=5"]
    words = ["-m", "trainer.main", *TINY, *words, f"--data_dir={data_dir}"]
    when = run_dir / "checkpoints" / "step-00000010"
    done = failing([*words, f"--run_dir={run_dir}"], when, rename_folder=number)
    assert done.returncode == code, done.stderr
    assert os.strerror(number) in done.stderr
    assert [p.name for p in (run_dir / "checkpoints").iterdir()] == [when.name]
    assert ("trying again later" in done.stderr) == (code == 175)
    done = failing([*words, f"--run_dir={run_dir}"])
    assert done.returncode == 0, done.stderr
    assert "resumed" in done.stderr


EXPORT = """
import pathlib, sys
from absl import flags
from export.artifact import artifact
from trainer.cli import command
def main():
    folder = pathlib.Path(sys.argv[1])
    with artifact.staging_folder(folder) as hidden:
        (hidden / "model").mkdir()
        (hidden / "model" / "a").write_bytes(b"a")
        artifact.publish_folder(hidden / "model", folder / "model", {})
folder, sys.argv[1:] = sys.argv[1], []
sys.argv.append(folder)
command.parse = lambda *_: []
command.run("export.x", "", flags.FlagValues(), main)
"""
EXPORTS = {
    ("rename_folder", errno.EOPNOTSUPP): 1,
    ("fsync_file", errno.ENOSPC): 175,
    ("mkdir", errno.EROFS): 2,
    ("flock", errno.ENOSYS): 0,
    ("fsync_folder", errno.EINVAL): 0,
}


@pytest.mark.parametrize(("fault", "code"), EXPORTS.items(), ids=str)
def test_exports_have_the_same_words_and_codes(failing, tmp_path, fault, code):
    folder = tmp_path / "disk" / "export"
    done = failing(["-c", EXPORT, str(folder)], **dict([fault]))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == (2 if code else 0), done.stderr
    assert left(tmp_path / "disk") == []
    assert folder.exists() == (code == 0)


RESUME = """
import pathlib, sys
from absl import flags
from trainer.cli import command
from trainer.rundir import checkpoints
def main():
    found = checkpoints.load_latest(pathlib.Path(sys.argv[1]), skipped=print)
    print("step", found and found.step)
command.parse = lambda *_: []
command.run("trainer.x", "", flags.FlagValues(), main)
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(errno.EIO, 175, ""), (errno.ESTALE, 175, ""), (errno.EACCES, 0, "step None")],
)
def test_a_checkpoint_that_cannot_be_read_now_is_not_skipped(
    failing, tmp_path, number, code, said
):
    """It would be trained again, and the good one removed as damaged."""
    folder = tmp_path / "disk"
    for step in (1, 2):
        checkpoints.save(folder, {"a": np.zeros(3)}, {"step": step})
    done = failing(["-c", RESUME, str(folder)], read=number)
    assert done.returncode == code, done.stderr
    assert said in done.stdout


READS = """
import pathlib, sys
from absl import flags
from trainer.cli import command
def main():
    from trainer.data.sources import tfds_source
    builder = tfds_source.locate("digits", sys.argv[1])
    pathlib.Path(sys.argv[2]).touch()
    tfds_source.load_split(builder, "test")
command.parse = lambda *_: []
command.run("trainer.x", "", flags.FlagValues(), main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("number", "code"), [(errno.ESTALE, 175), (errno.EACCES, 2)])
def test_data_that_cannot_be_read_now_is_not_called_damaged(
    failing, data_dir, tmp_path, late, number, code
):
    """TFDS reads the description, TensorFlow, which words errors, the examples."""
    data, when = tmp_path / "disk" / "data", tmp_path / "when"
    shutil.copytree(data_dir, data)
    words = ["-c", READS, str(data), str(when)]
    done = failing(words, when if late else None, read=number)
    assert done.returncode == code, done.stderr
    assert os.strerror(number) in done.stderr
    assert "Traceback" not in done.stderr


def test_no_room_for_checkpoints_is_2_in_a_new_run_and_175_at_a_restart(tmp_path):
    def check(**given) -> None:
        asked = RunConfig(keep_checkpoints=10**15, **given)
        run = Run(tmp_path / "run")
        checks.check_space(run, asked, 4)

    with pytest.raises(InvalidInput, match="`keep_checkpoints`"):
        check()
    begin(tmp_path / "run")
    with pytest.raises(Interrupted, match="make room and restart") as stopped:
        check()
    assert stopped.value.code == 175
    with pytest.raises(InvalidInput, match="`keep_checkpoints`"):
        check(dry_run=True)


def test_words_of_tensorflow_are_errors_of_the_system():
    with pytest.raises(tf.errors.OpError) as raised:
        tf.io.write_file("/dev/full", "x" * 10**6)
    assert storage.parse_os_error(raised.value.message).errno == errno.ENOSPC
    assert storage.parse_os_error("something else").errno is None


CHECKS = {
    "the report": (
        "rename_file",
        "from eval.reports import output_folder; output_folder.check_replaceable(path)",
    ),
    "the export": (
        "rename_folder",
        "from export.artifact.artifact import check_writable as check;"
        " check(path, folders=True)",
    ),
}


@pytest.mark.parametrize("what", CHECKS)
def test_reports_and_exports_are_refused_before_their_work(failing, tmp_path, what):
    path = tmp_path / "disk" / "a"
    kind, check = CHECKS[what]
    words = ["-c", f"import pathlib; path = pathlib.Path({str(path)!r}); {check}"]
    assert failing(words).returncode == 0
    assert failing(words, append=errno.EOPNOTSUPP).returncode == 0  # of no need there
    done = failing(words, **{kind: errno.EOPNOTSUPP})
    assert f"InvalidInput: {what} cannot be written to" in done.stderr
    assert "cannot rename a " in done.stderr
    assert list((tmp_path / "disk").iterdir()) == []


CODES = {
    errno.ENOSPC: 175,
    errno.EDQUOT: 175,
    errno.ESTALE: 175,
    errno.EIO: 175,
    errno.ENOENT: 175,
    errno.ETIMEDOUT: 175,
    errno.EMFILE: 175,
    errno.EROFS: 1,
    errno.EACCES: 1,
    errno.EPERM: 1,
    errno.EOPNOTSUPP: 1,
    errno.ENOSYS: 1,
    errno.EINVAL: 1,
    errno.ENAMETOOLONG: 1,
    errno.ELOOP: 1,
    errno.ENOTDIR: 1,
    errno.EXDEV: 1,
    None: 1,
    9999: 1,
}


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_the_table_decides_every_exit_code(number, code):
    error = OSError(number, "said", "/a/file") if number else OSError("said")
    found = storage.as_failure("what", error)
    assert isinstance(found, Interrupted if code == 175 else TrainingFailed)
    assert str(found).startswith("what: said")
    assert str(found).endswith(storage.meaning(error).remedy)
    assert isinstance(storage.as_refusal("what", error, restart=False), InvalidInput)
    again = storage.as_refusal("what", error, restart=True)
    assert isinstance(again, Interrupted if code == 175 else InvalidInput)
    assert ("restart" in storage.meaning(error).remedy) == (code == 175)


NO_FOLDER = "import tempfile; tempfile._candidate_tempdir_list = lambda: []"
IMPORTS_TENSORFLOW = {
    "trainer.main": "--dataset=digits --run_dir={}/run",
    "trainer.prepare": "--dataset=digits --data_dir={}/data",
    "eval.report": "--run_dir={}/tiny",
    "export.tflite": "--run_dir={}/tiny",
}


@pytest.mark.parametrize("module", IMPORTS_TENSORFLOW)
def test_no_folder_for_temporary_files_is_said_at_once(run, tmp_path, module):
    """As in a container with a read-only root: TensorFlow cannot even be imported."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(NO_FOLDER)
    before = sorted(tmp_path.rglob("*"))
    done = run_command(
        module,
        *IMPORTS_TENSORFLOW[module].format(tmp_path).split(),
        env=os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert "TMPDIR" in done.stderr
    assert done.stderr.count("\n") == 2, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
