"""Files: no link is followed to write, and nothing larger than its limit is read."""

import ast
import json
import os

import pytest

from export.artifact import artifact
from launch.supervisor import heartbeat_file, log_file
from tests.support.sources import SOURCES
from trainer import files
from trainer.config.enums import Resume
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.contract import HEARTBEAT_VARIABLE
from trainer.data.sources import tfds_preparation
from trainer.distributed import heartbeat
from trainer.errors import InvalidInput
from trainer.monitoring import tensorboard
from trainer.rundir import durable_log
from trainer.rundir.checks import check_can_start
from trainer.rundir.layout import Run

PRECIOUS = b"precious"


@pytest.fixture
def victim(tmp_path):
    """A file of somebody else, and one that is not there; neither may change."""
    path, absent = tmp_path / "victim", tmp_path / "absent"
    path.write_bytes(PRECIOUS)
    yield {"link": path, "dangling link": absent}
    assert path.read_bytes() == PRECIOUS
    assert not absent.exists()


@pytest.fixture(params=["link", "dangling link", "pipe"])
def plant(request, victim):
    """Puts a link or a pipe at a name that will be written."""

    def put(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if request.param == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(victim[request.param])
        return path

    return put


def test_the_lock_of_a_preparation(plant, tmp_path):
    path = plant(tmp_path / "data" / ".digits.preparing")
    with pytest.raises(InvalidInput, match=str(path)):
        tfds_preparation.prepare("digits", str(path.parent), say=print)


def test_a_file_that_appears_whole(plant, tmp_path):
    path = tmp_path / "run" / "result.json"
    plant(path)
    plant(files.temporary_path(path))
    files.write_json(path, {"a": 1})
    assert not path.is_symlink()
    assert files.read_json(path) == {"a": 1}
    assert os.listdir(path.parent) == [path.name]


def test_a_heartbeat(plant, tmp_path, monkeypatch):
    path = tmp_path / "beats" / "sign.json"
    plant(path)
    plant(files.temporary_path(path))
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(path))
    heartbeat.Heartbeat(None, 0, 1, 60).write("train", 7)
    assert json.loads(path.read_text())["step"] == 7


def test_a_journal(plant, tmp_path):
    path = plant(tmp_path / "run" / "metrics.jsonl")
    with pytest.raises(OSError, match="a link or not a regular file"):
        durable_log.DurableLog(path, print)
    (path.parent / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"metrics\.jsonl is a (link|pipe)"):
        check_can_start(Run(path.parent), Config(), RunConfig(resume=Resume.NEVER))


@pytest.mark.parametrize("step", [0, 5])
def test_event_files(plant, tmp_path, step):
    path = plant(tmp_path / "tensorboard" / "events.out.tfevents.1.host")
    tensorboard.truncate_after(path.parent, step)
    assert not os.path.lexists(path)


def test_a_log_of_a_worker(plant, tmp_path):
    (tmp_path / log_file.RUN_MARK).write_text("{}")
    plant(tmp_path / "logs" / "worker.log")
    log_file.WorkerLog(str(tmp_path), "worker", 1).write(b"line\n")


def test_signs_that_are_pipes_make_nobody_wait(tmp_path):
    sign = b'{"step": 3, "phase": "train"}'
    for content, step in ((None, None), (sign + b" " * 2**21, 3), (sign, 3)):
        path = tmp_path / f"{step}-{content and len(content)}.json"
        path.write_bytes(content) if content else os.mkfifo(path)
        seen = heartbeat_file.HeartbeatFile(path, 0.0)
        seen.refresh(1.0)
        assert seen.step == step
    os.mkfifo(tmp_path / "1.json")
    peers = heartbeat.Heartbeat(None, 0, 1, 60)
    peers._folder = tmp_path
    assert peers._look(1) is None


def test_the_lock_of_an_export(plant, tmp_path):
    plant(tmp_path / "export" / f"{artifact.HIDDEN}x" / artifact.LOCK)
    with artifact.staging_folder(tmp_path / "export") as hidden:
        assert hidden.is_dir()


WRITERS = {
    "trainer/files.py",
    "launch/supervisor/log_file.py",
    "launch/supervisor/temporary_files.py",  # O_EXCL
    "launch/study/trial_records.py",  # launch may not import trainer.files
}


def _writes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    modes = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
    if name == "open" or name.endswith(".open"):
        asked = ast.unparse(node)
        if "os.devnull" in asked or "memfd_create" in asked:  # no name of ours
            return False
        opened = any(isinstance(m, str) and set(m) & set("wax+") for m in modes)
        if name == "Image.open" or "os.devnull" in asked:
            return False
        return opened or ("O_CREAT" in asked and "O_EXCL" not in asked)
    of_path = name.endswith((".write_text", ".write_bytes"))
    return of_path and not name.startswith("files.")


def test_nothing_opens_a_file_for_writing_by_itself():
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path in SOURCES
        if not str(path).endswith(tuple(WRITERS))
        for node in ast.walk(ast.parse(path.read_text()))
        if _writes(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe\x00", b"[" * 10**6, b"1" * 10**4, b" " * (files.JSON_BYTES + 1)],
    ids=["torn", "bytes", "deep", "digits", "large"],
)
def test_json_that_is_none(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        files.read_json(path)


def test_what_does_not_end_is_not_read(tmp_path):
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "hole", "wb") as hole:
        hole.truncate(1 << 40)
    for name in ("zeros", "pipe", "hole"):
        with pytest.raises(OSError, match="regular|more than the"):
            files.read_json(tmp_path / name)
