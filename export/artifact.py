"""Artifact: an exported file or folder and the manifest that proves it.

Made in a hidden folder, measured there, renamed when it has passed; the manifest comes
last, so a model without one is not an artifact.
"""

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from eval import engine
from eval import manifest as manifests
from trainer import files, storage
from trainer.commandline import Stopped, lost, refused
from trainer.contract import STOPS, stops

VERSION = 1
HIDDEN, LOCK = ".writing-", "lock"
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy")


@dataclasses.dataclass(frozen=True)
class Artifact:
    """What lies under its final name, and what its manifest says."""

    path: pathlib.Path
    manifest: Mapping[str, Any]

    def sentence(self) -> str:
        """Where it is, how large and how good, in two lines."""
        test, size = self.manifest["test"], self.manifest["bytes"]
        low, high = test["accuracy_interval"]
        share = "a sample of " if test["sampled"] else ""
        computed = f"; {engine.words(test['engine'])}" if "engine" in test else ""
        split = test.get("split", "test")
        return (
            f"{self.path}\n{size:,} bytes; {test['accuracy']:.2%} (95 %: {low:.2%} to "
            f"{high:.2%}) of {share}{test['images']:,} {split} images, {test['flips']} "
            f"unlike the checkpoint; NLL {test['nll']:.4f}, ECE {test['ece']:.2%}"
            f"{computed}"
        )


def check(folder: pathlib.Path, *, folders: bool = False) -> None:
    """Raises UsageError unless an export can be written to `folder`; leaves nothing."""
    try:
        storage.probe(folder, folders=folders, appends=False)
    except OSError as error:
        what = f"the export cannot go to {folder}"
        raise refused(what, error, restart=False) from error


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A hidden folder inside `folder`, gone at the end, also when a signal comes.

    Raises:
        UsageError: `folder` cannot be made or written.
        Failure: the storage does not take it, and never will; nothing is left behind.
        Stopped: by SIGTERM or SIGHUP, with 143 or 129; with 175, the disk is full or
            gone.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden, lock = _hidden(folder)
    except OSError as error:
        what = f"the export cannot go to {folder}"
        raise refused(what, error, restart=False) from error
    try:
        with _ended_by_signals():
            yield hidden
    except OSError as error:
        what = f"the export could not be written, nothing was kept in {folder}"
        raise lost(what, error) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        os.close(lock)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty


def _hidden(folder: pathlib.Path) -> tuple[pathlib.Path, int]:
    """A new folder in `folder` and its lock; those of killed processes are removed."""
    files.sweep(folder)
    for left in folder.glob(f"{HIDDEN}*/{LOCK}"):
        with contextlib.suppress(OSError):  # somebody writes there
            os.close(_locked(left, new=False))
            shutil.rmtree(left.parent, ignore_errors=True)
    hidden = pathlib.Path(tempfile.mkdtemp(prefix=HIDDEN, dir=folder))
    return hidden, _locked(hidden / LOCK, new=True)


def _locked(path: pathlib.Path, *, new: bool) -> int:
    """The open file `path`, locked; the lock goes with the process.

    Where the file system has no locks a `new` file is open without.

    Raises:
        OSError: another process has it, or that cannot be seen.
    """
    lock = files.open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        if not files.lock(lock, wait=False) and not new:
            raise OSError(errno.ENOLCK, "who writes there cannot be seen", str(path))
    except OSError:
        os.close(lock)
        raise
    return lock


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets them raise Stopped, so that what stands in `finally` is done."""

    def stop(number: int, _frame: object) -> None:
        name = signal.Signals(number)
        raise Stopped(f"stopped by {name.name}; nothing was kept", STOPS[name])

    taken = [n for n in stops() if n in (signal.SIGTERM, signal.SIGHUP)]
    before = {number: signal.signal(number, stop) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def publish_file(made: pathlib.Path, final: pathlib.Path, facts: Mapping) -> Artifact:
    """Gives the file `made` its `final` name, replacing another, and its manifest."""
    manifest = {
        **_heading(final.name),
        "sha256": manifests.sha256(made),
        "bytes": made.stat().st_size,
        **facts,
    }
    beside = manifests.place(final)
    prepared = made.with_name(beside.name)
    files.write_json(prepared, manifest)
    beside.unlink(missing_ok=True)  # it would be another file's
    os.replace(made, final)
    os.replace(prepared, beside)
    files.sync_directory(final.parent)
    return Artifact(final, manifest)


def publish_version(made: pathlib.Path, root: pathlib.Path, facts: Mapping) -> Artifact:
    """Gives the folder `made` the next number in `root`, its manifest inside."""
    root.mkdir(exist_ok=True)
    final = root / str(_next_number(root))
    manifest = _seal(made, f"{root.name}/{final.name}", facts)
    os.rename(made, final)  # fails if another process took the number
    files.sync_directory(root)
    return Artifact(final, manifest)


def publish_folder(made: pathlib.Path, final: pathlib.Path, facts: Mapping) -> Artifact:
    """Gives the folder `made` its `final` name, replacing another, manifest inside."""
    manifest = _seal(made, final.name, facts)
    if final.exists():
        os.rename(final, made.with_name("replaced"))
    os.rename(made, final)
    files.sync_directory(final.parent)
    return Artifact(final, manifest)


def _seal(made: pathlib.Path, name: str, facts: Mapping) -> dict[str, Any]:
    """Writes the manifest of the folder `made` into it."""
    parts = {
        str(path.relative_to(made)): {
            "sha256": manifests.sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(made.rglob("*"))
        if path.is_file()
    }
    manifest = {
        **_heading(name),
        "sha256": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        "bytes": sum(part["bytes"] for part in parts.values()),
        "files": parts,
        **facts,
    }
    files.write_json(made / manifests.FILE, manifest)
    return manifest


def read(path: pathlib.Path) -> Artifact | None:
    """The artifact at `path`, its bytes checked; None if there is no whole one."""
    try:
        manifest = files.read_json(manifests.place(path))
        noted = manifests.parts(path, manifest)
        whole = all(manifests.sha256(k) == part["sha256"] for k, part in noted.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Artifact(path, manifest) if whole else None


def _heading(name: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "file": name,
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _next_number(root: pathlib.Path) -> int:
    taken = [int(p.name) for p in root.iterdir() if p.name.isdecimal()]
    return max(taken, default=0) + 1
