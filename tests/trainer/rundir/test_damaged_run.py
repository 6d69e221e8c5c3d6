"""Every file of a run, damaged in every way: file, what is wrong, remedy; no Python.

The commands are asked in this process, up to where each has read the files.
"""

import copy
import json
import pathlib
import random
import shutil
import types

import pytest

from eval import model_source
from eval.metrics import calibration
from eval.metrics.validation_rows import ValidationAnswers
from eval.reports import exported_files, report_data
from eval.reports.charts import training_curves
from eval.reports.pages import report_notes
from tests.support.commands import TINY
from tests.support.flag_values import read
from trainer.config.enums import EvalTta
from trainer.config.run_config import RunConfig
from trainer.distillation import teacher
from trainer.distributed import environment
from trainer.errors import Interrupted, InvalidInput, TrainingFailed
from trainer.monitoring import metrics_log
from trainer.rundir import checkpoints, checks, layout, lease, resume
from trainer.rundir import finished as rundir_finished
from trainer.rundir.layout import Run
from trainer.rundir.metadata import RunMetadata
from trainer.training import replay

SAID = (InvalidInput, TrainingFailed, Interrupted)
ODD = [None, "x", -1, 10**30, [[]], {"a": []}]


def wrong_values(good: dict) -> list[bytes]:
    """`good` with each of its fields, two levels deep, left out or of another type."""
    places = [[key] for key in good]
    places += [
        [k, inner] for k, v in good.items() if isinstance(v, dict) for inner in v
    ]
    places += [
        [k, i, j]
        for k, v in good.items()
        if isinstance(v, dict)
        for i, w in v.items()
        if isinstance(w, dict)
        for j in w
    ]
    made = []
    for place in places:
        for odd in [*ODD, KeyError]:
            changed = copy.deepcopy(good)
            *way, last = place
            at = changed
            for key in way:
                at = at[key]
            if odd is KeyError:
                del at[last]
            else:
                at[last] = odd
            made.append(json.dumps(changed).encode())
    return made


def damaged(content: bytes) -> list[bytes]:
    """A file of JSON cut, emptied, flipped, nested deeply, or of another type."""
    generator = random.Random(0)
    made = [b"", b"\n", b"\xff", b"\0" * 64, b"[" * 10**5, b'{"a":' * 10**5, b"NaN"]
    made += [b"null", b"[]", b"{}", b'"x"', b"3", b"1" * 5000, b"[1e999]"]
    made += [content[:-2], content[: len(content) // 2], content + b"}", content * 2]
    for _ in range(8):
        changed = bytearray(content)
        changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        made.append(bytes(changed))
    return made


def finished(path: pathlib.Path) -> None:
    run = Run(path)
    config, run_config = read(*TINY, f"--run_dir={path}")
    checks.check_can_start(run, run.config(), run_config)
    if (result := run.result()) is not None:
        layout.format_summary(run, result)
    del config


def resumed(path: pathlib.Path) -> None:
    """What a trainer does with a run that is not finished."""
    run = Run(path)
    known = json.loads(DATA.read_text())["data"] if DATA else {}
    said = []
    metadata = RunMetadata(
        config=run.config(),
        run_config=RunConfig(),
        data=known,
        environment=dict.fromkeys(environment.DECIDES_BITS, "now"),
        reproducibility_key={},
    )
    state = types.SimpleNamespace(load=lambda *_: None)
    resume._choose(run, state, metadata, said.append)
    metrics_log.truncate_after(run.metrics, 3, said.append)
    lease.read_record(path / lease.FILE)


def evaluated(path: pathlib.Path) -> None:
    """What a report reads before and after the answers are there."""
    run = Run(path)
    chosen = model_source.from_run(run)
    if (path / calibration.FILE).exists():
        answers = ValidationAnswers(run, None, None, None)
        calibration.from_run(answers, chosen.facts["sha256"])
    told = report_data._run_facts(run)
    report = {"run": told, "model": chosen.facts, "data": {"same_as_trained": True}}
    report["scores"] = {"accuracy": 0.5}
    json.dumps(report, allow_nan=False)
    report_notes.training_note(report, EvalTta.NONE)
    training_curves.load_curves(run)
    exported_files.list_exports(run)


def rechecked(path: pathlib.Path) -> None:
    kept = replay._load_kept(Run(path))
    replay._run_config(Run(path), kept[-1], None)
    replay._commit(Run(path))


def taught(path: pathlib.Path) -> None:
    rundir_finished.weights_sha256(str(path), "teacher")
    teacher.check_data(Run(path), json.loads(DATA.read_text())["data"])


COMMANDS = [finished, resumed, evaluated, rechecked, taught]
FILES = ["config.json", "result.json", "environment.json", calibration.FILE]
DATA: pathlib.Path | None = None


@pytest.fixture(scope="module")
def whole(template, tmp_path_factory) -> pathlib.Path:
    """A run with every file."""
    path = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(template, path)
    result = json.loads((path / "result.json").read_text())
    result |= {
        "test_accuracy_interval": [0.4, 0.6], "test_images": 360, "data": "digits",
        "images_per_second": 10.0, "eval_tta": "none", "commit": "c",
    }  # fmt: skip
    (path / "result.json").write_text(json.dumps(result))
    fitted = {
        "version": calibration.VERSION, "temperature": 1.5, "rows": 9, "why": "Fitted.",
        "weights_sha256": result["weights_sha256"],
    }  # fmt: skip
    (path / calibration.FILE).write_text(json.dumps(fitted))
    known = {"python": "3.11", "packages": {"tensorflow": "2"}, "threads": 2}
    (path / "environment.json").write_text(json.dumps(known))
    return path


def complaint(command, path: pathlib.Path) -> str | None:
    """What is wrong with how `command` takes the run in `path`; None if nothing."""
    try:
        command(path)
    except SAID as error:
        text = str(error)
        if str(path) not in text:
            return f"names no file: {text}"
        if len(text.splitlines()) > 2 or len(text) > 900:
            return f"is too long: {text[:200]}"
        if any(word in text for word in ("NoneType", "object is not", "Traceback")):
            return f"speaks Python: {text}"
    except Exception as error:  # noqa: BLE001  this is what is looked for
        return f"{type(error).__name__}: {error}"[:200]
    return None


@pytest.mark.parametrize("command", [finished, resumed, evaluated, rechecked])
def test_a_run_of_the_first_version_is_refused_as_such(
    whole, tmp_path, command, monkeypatch
):
    monkeypatch.setitem(globals(), "DATA", whole / "config.json")
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    older = json.loads((path / "config.json").read_text())
    del older["config"]["version"], older["config"]["distillation"]
    older["config"]["model"] = {"name": "cnn", "width": 0.25, "dropout": None}
    (path / "config.json").write_text(json.dumps(older))
    with pytest.raises(SAID, match="version 1.*use the release that made it") as raised:
        command(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_file_of_json_is_named(whole, tmp_path, command, name, monkeypatch):
    monkeypatch.setitem(globals(), "DATA", whole / "config.json")
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    content = (path / name).read_bytes()
    command(path) if command is not rechecked else None
    wrong = {}
    for number, bad in enumerate(damaged(content) + wrong_values(json.loads(content))):
        (path / name).write_bytes(bad)
        if (found := complaint(command, path)) is not None:
            wrong.setdefault(found, (number, bad[:300]))
    assert wrong == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_manifest_is_no_checkpoint(whole, tmp_path, command, monkeypatch):
    monkeypatch.setitem(globals(), "DATA", whole / "config.json")
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    (folder,) = checkpoints.list_folders(path / "checkpoints")
    manifest = folder / checkpoints.MANIFEST
    good = json.loads(manifest.read_bytes())
    wrong = {}
    for bad in damaged(manifest.read_bytes()) + wrong_values(good):
        manifest.write_bytes(bad)
        if (found := complaint(command, path)) is not None:
            wrong.setdefault(found, bad[:300])
    assert wrong == {}


LINES = [b"\xff\xfe{\n", b"[]\n", b"3\n", b'{"step": 1e999}\n', b"{}" * 50_000 + b"\n"]
LINES += [b"[" * 10**5 + b"\n", b"\0" * 99 + b"\n", b'{"step": [], "split": {}}\n', b""]
LINES += [b'{"step": 9, "split": "train", "loss": "x", "eval_tta": []}\n']


@pytest.mark.parametrize("line", LINES, ids=lambda line: str(line[:12]))
@pytest.mark.parametrize("command", [resumed, evaluated])
def test_a_damaged_line_of_metrics_costs_itself(
    whole, tmp_path, line, command, monkeypatch
):
    monkeypatch.setitem(globals(), "DATA", whole / "config.json")
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    before = training_curves.load_curves(Run(path))
    content = (path / "metrics.jsonl").read_bytes()
    (path / "metrics.jsonl").write_bytes(line + content + line)
    assert training_curves.load_curves(Run(path)) == before
    assert complaint(command, path) is None


@pytest.mark.parametrize("content", damaged(b'{"pid": 3, "host": "a"}') + LINES)
def test_a_damaged_lease_is_nobodys(tmp_path, content):
    (tmp_path / lease.FILE).write_bytes(content)
    assert lease.read_record(tmp_path / lease.FILE).pid == 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\n",
        b"--epochs=\0\n",
        b"--no_such=3\n",
        b"{\n",
        b"--epochs=[\n",
        b"3" * 999,
    ],
)
def test_a_damaged_file_of_flags_is_wrong_usage(tmp_path, content):
    path = tmp_path / "flags.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        read(f"--flagfile={path}")
    assert len(str(raised.value).splitlines()) <= 2


CIRCLES = {
    "find": lambda path: layout.open_run(str(path)),
    "trainer": lambda path: checks.select_run(*read(f"--run_dir={path}")),
    "model": lambda path: model_source.from_path(str(path)),
    "teacher": lambda path: read(f"--teacher={path}"),
}


@pytest.mark.parametrize("use", CIRCLES)
@pytest.mark.parametrize("inside", ["", "run"])
def test_a_circle_of_links_is_wrong_usage(tmp_path, use, inside):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InvalidInput, match=str(tmp_path)):
        CIRCLES[use](tmp_path / "a" / inside)
