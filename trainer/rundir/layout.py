"""Run directory: the folder with everything that one training writes.

Synopsis::

    run = layout.open_run(None, root="runs")  # the run that runs/latest points at
    print(run.result()["test_accuracy"], run.config().model.name)
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from trainer import contract, files, storage
from trainer.config.enums import EvalTta
from trainer.config.parsing import parse_path
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.config.serialization import misfit
from trainer.errors import InvalidInput

LATEST = "latest"
# Links to the newest run, which `latest` points at: all but its event files, because
# TensorBoard follows links and would show the run a second time.
LINKS = ".latest"
_LINKED = ("checkpoints", "config.json", "environment.json", "export", "flags.txt")
_LINKED += ("calibration.json", "metrics.jsonl", "model.json", "report", "result.json")
_LINKED += ("abstain.json", "logs", "source", "teacher", "workers")
_RESTORE = "restore it, or name another `run_dir`"
SHOWN_RUNS = 5  # that a message lists
ARCHITECTURE = "model.json"
SOURCE = "source"  # folder of a copy of the file of a user's network
# Fields of result.json that the summary shows.
_TESTED = {
    "test_accuracy_interval": list,
    "test_accuracy": float,
    "test_images": int,
}
_RESULT = {
    "data": str,
    "steps": int,
    "images_per_second": float,
    "weights_sha256": str,
}
_VALIDATED = {
    "validation_accuracy_interval": list,
    "validation_accuracy": float,
    "validation_images": int,
}
# Files that only the owner of a run writes.
_OWNERS = ("config.json", "environment.json", "flags.txt", "metrics.jsonl")
_OWNERS += ("result.json",)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory; docs/run_directory.md lists its files."""

    path: pathlib.Path

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> pathlib.Path:
        """Folder of event files: the run itself, which TensorBoard calls by its name.

        Runs of older releases have a folder of their own in it.
        """
        older = self.path / "tensorboard"
        return older if os.path.lexists(older) else self.path

    @property
    def metrics(self) -> pathlib.Path:
        """Path of metrics.jsonl, see docs/run_directory.md."""
        return self.path / "metrics.jsonl"

    @property
    def exists(self) -> bool:
        """Whether a training was started in this directory."""
        return os.path.isfile(
            self.path / "config.json"
        )  # False if it is not accessible

    def recorded(self) -> dict[str, Any]:
        """Reads config.json: objects "config", "run" and "data"."""
        found = self._json("config.json")
        parts = {name: dict for name in ("config", "run", "data") if name in found}
        if wrong := misfit(found, parts):
            raise InvalidInput(
                f"{self.path / 'config.json'} is damaged: {wrong};\n{_RESTORE}"
            )
        return found

    def environment(self) -> dict[str, Any]:
        """Reads environment.json: versions, processor, devices and settings."""
        return self._json("environment.json")

    def config(self) -> Config:
        """Reads the Config that the run was started with."""
        recorded = self.recorded()
        try:
            return Config.from_json(recorded["config"], self._architecture())
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{self.path / 'config.json'} cannot be read: {error}"
            ) from error

    def _architecture(self) -> str | None:
        """Reads model.json, which runs of a user's own network have; otherwise None."""
        path = self.path / ARCHITECTURE
        if not os.path.lexists(path):
            return None
        try:
            return files.read_bytes(path, files.JSON_BYTES).decode()
        except OSError as error:
            raise ValueError(f"{ARCHITECTURE}: {error}") from error

    def result(self) -> dict[str, Any] | None:
        """Reads result.json; None while the run has not finished."""
        if not os.path.isfile(self.path / "result.json"):
            return None
        return self._json("result.json")

    def write(self, name: str, value: Any) -> None:
        """Writes `value` atomically as JSON file `name`."""
        files.remove_leftovers(self.path)
        files.write_json(self.path / name, value)

    def sweep(self) -> None:
        """Removes temporary files of killed processes.

        Only the process that holds the lease may call it.
        """
        files.remove_leftovers(self.path, mine=_OWNERS)
        for name in ("workers", SOURCE):
            files.remove_leftovers(self.path / name)
        for folder in (self.path / "tensorboard", self.path / "teacher"):
            files.remove_leftovers(folder, mine=None)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = files.read_json(self.path / name)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{self.path / name} cannot be read: {error};\n{_RESTORE}"
            ) from error
        if not isinstance(found, dict):
            raise InvalidInput(
                f"{self.path / name} is damaged: it holds no object;\n{_RESTORE}"
            )
        return found


def open_run(run_dir: str | None, *, root: str = "runs") -> Run:
    """Opens the run in `run_dir`, or the newest one under `root` if it is None.

    Raises:
        InvalidInput: there is no run.
    """
    path = pathlib.Path(root) / LATEST
    if run_dir is not None:
        path = parse_path("run_dir", run_dir)
    run = Run(resolve_links(path))
    if not run.exists:
        raise InvalidInput(f"no run in {path}; {_suggest_runs(path)}")
    return run


def _suggest_runs(path: pathlib.Path) -> str:
    """What to do where there is no run in `path`: the run that it is in, or others.

    These are the newest in it or beside it.
    """
    if around := [each for each in path.parents[:3] if Run(each).exists]:
        return f"name the run around it with `run_dir`: {around[0].absolute()}"
    for folder in (path, path.parent):
        found = [Run(each) for each in _subfolders(folder)]
        runs = [each.path for each in found if each.exists]
        if runs:
            runs.sort(key=os.path.getmtime, reverse=True)
            named = ", ".join(map(str, runs[:SHOWN_RUNS]))
            more = f" and {len(runs) - SHOWN_RUNS} more" * (len(runs) > SHOWN_RUNS)
            return f"name one with `run_dir`: {named}{more}"
    return "train one first, or name another with `run_dir`"


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders in `folder`, links left out; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [e.path for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [pathlib.Path(each) for each in sorted(found)]


def resolve_links(path: pathlib.Path) -> pathlib.Path:
    """Resolves the links in `path`; the folder of links to a run is that run.

    Raises:
        InvalidInput: the links form a circle.
    """
    try:
        found = path.resolve()
        linked = found.parent.name == LINKS
        return found.parents[1] / found.name if linked else found
    except (OSError, RuntimeError) as error:
        raise InvalidInput(
            f"{path} is a link that leads to itself; name another directory"
        ) from error


def choose_directory(config: Config, run_config: RunConfig) -> pathlib.Path:
    """Chooses the directory of a training: `run_dir`, or a new one in `runs_root`.

    A new name contains time, network and data set.
    """
    if run_config.run_dir is not None:
        return resolve_links(pathlib.Path(run_config.run_dir))
    time = contract.format_time()
    name = contract.name_run(time, config.model.name, config.data.dataset)
    root = pathlib.Path(run_config.runs_root).absolute()
    names = [name, *(f"{name}-{n}" for n in range(2, 100))]
    return next(root / n for n in names if not (root / n).exists())


def check_storage(run: Run) -> None:
    """Checks that every file operation of a run works in its directory.

    Raises:
        InvalidInput: an operation fails; the message names it.
        PeerLost: the run exists, and the failure is temporary.
    """
    storage.check_writable(run.path, "the run", restart=run.exists)


def update_latest(run: Run, say: Callable[[str], None] = print) -> None:
    """Makes `latest` beside the run lead to what is in it.

    It is a link to a folder of links, see LINKS. A failure is only reported. If
    `latest` is a file, a folder or a link to something other than a run, it is not
    changed.
    """
    files.remove_leftovers(run.path.parent)
    link = run.path.parent / LATEST
    if run.path.name == LATEST or (link.exists() and not link.is_symlink()):
        return
    if link.exists() and not Run(link).exists:
        return
    beside = files.temporary_path(link)
    try:
        beside.symlink_to(_make_links(run).relative_to(run.path.parent))
        os.replace(beside, link)
        _remove_links(run)
    except OSError as error:
        files.delete(beside)
        say(f"{link} cannot be updated ({error.strerror}): name the run with `run_dir`")


def _make_links(run: Run) -> pathlib.Path:
    """Makes the folder of links to `run`; some lead to what is written later."""
    folder = run.path.parent / LINKS / run.path.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in _LINKED:
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(pathlib.Path("..", "..", run.path.name, name))
    return folder


def _remove_links(run: Run) -> None:
    """Removes the folders of links to other runs."""
    for folder in (run.path.parent / LINKS).iterdir():
        if folder.name == run.path.name or folder.is_symlink():
            continue
        for link in folder.iterdir():
            if link.is_symlink():
                link.unlink()
        folder.rmdir()


def format_summary(run: Run, result: dict[str, Any]) -> str:
    """Formats two lines: accuracy, interval and data; steps, speed, weights and run.

    Raises:
        InvalidInput: result.json lacks a field or has one of another type.
    """
    try:
        fields = _RESULT | (_TESTED if was_tested(result) else {})
        if wrong := misfit(result, fields):
            raise ValueError(wrong)
        return _format_summary(run, result)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"{run.path / 'result.json'} is not one of ours ({error});\nmove it away, "
            "and resume the run with `run_dir` to write it again"
        ) from error


def was_tested(result: Mapping[str, Any]) -> bool:
    """Whether the content of a result.json has a test; all earlier releases tested."""
    return result.get("tested") is not False


def _format_summary(run: Run, result: dict[str, Any]) -> str:
    scores = _format_test if was_tested(result) else _format_validation
    return (
        f"{scores(result)}\n"
        f"{result['steps']:,} steps, {result['images_per_second']:,.0f} images/s, "
        f"weights {result['weights_sha256'][:12]}, run {run.path}"
    )


def _format_test(result: dict[str, Any]) -> str:
    low, high = map(float, result["test_accuracy_interval"])
    used = result.get("test_split", "test")
    split = "" if used == "test" else f", its {used} split"
    return (
        f"test accuracy {result['test_accuracy']:.2%}{_tta_words(result)} (95 % "
        f"interval {low:.2%} to {high:.2%}) on all {result['test_images']:,} images of "
        f"{result['data']}{split}"
    )


def _format_validation(result: dict[str, Any]) -> str:
    if result.get("validation_accuracy") is None:
        return (
            f"no validation rows of {result['data']} and no test: nothing is measured"
        )
    if wrong := misfit(result, _VALIDATED):
        raise ValueError(wrong)
    low, high = map(float, result["validation_accuracy_interval"])
    return (
        f"validation only: accuracy {result['validation_accuracy']:.2%}"
        f"{_tta_words(result)} (95 % interval {low:.2%} to {high:.2%}) on "
        f"{result['validation_images']:,} held-out images of {result['data']}; the "
        "test split was not read"
    )


def _tta_words(result: dict[str, Any]) -> str:
    """How it was evaluated; older runs do not have the field."""
    return EvalTta(result.get("eval_tta", "none")).words
