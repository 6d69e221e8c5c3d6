"""Checks that a training can start or resume in a run directory."""

import dataclasses
import errno
import os
import pathlib
import shutil

from trainer.config.enums import Resume
from trainer.config.run_config import RunConfig
from trainer.config.schema import PENDING, Config
from trainer.config.serialization import differences
from trainer.errors import InvalidInput
from trainer.rundir import checkpoints
from trainer.rundir.layout import SOURCE, Run, choose_directory
from trainer.storage import as_refusal, nearest_existing


def select_run(config: Config, run_config: RunConfig) -> Run:
    """Chooses the run that a training starts or resumes; writes nothing.

    Raises:
        InvalidInput: the run directory cannot be used.
    """
    run = Run(choose_directory(config, run_config))
    check_can_start(run, config, run_config)
    return run


def check_can_start(run: Run, config: Config, run_config: RunConfig) -> None:
    """Checks that a training can start or resume in `run`; writes nothing.

    Raises:
        InvalidInput: `resume` forbids it, the config differs, or the directory cannot
            be written.
    """
    if run.result() is None:  # a finished run is only read
        check_directory(run.path)
    _check_layout(run)
    if not run.exists:
        if run_config.resume is Resume.MUST:
            raise InvalidInput(
                f"resume=must, but there is no run in {run.path}; "
                "leave `resume` out to start one"
            )
        return
    if run_config.resume is Resume.NEVER:
        raise InvalidInput(
            f"resume=never, but {run.path} holds a run; name another `run_dir`"
        )
    if not isinstance(run.recorded().get("config"), dict):
        raise InvalidInput(f"{run.path / 'config.json'} is damaged: it has no config")
    theirs, ours = _comparable(run.config(), config)
    if found := differences(theirs.to_json(), ours.to_json()):
        named = "; ".join(found)[:500]
        raise InvalidInput(
            f"{run.path} was started with another config (its != yours: {named});\n"
            "use the same options, or another `run_dir`"
        )


def _comparable(theirs: Config, ours: Config) -> tuple[Config, Config]:
    """Leaves out the network where ours is not built yet; it is compared later."""
    if ours.model.architecture != PENDING or theirs.model.architecture is None:
        return theirs, ours
    unknown = {"architecture": PENDING, "source_sha256": None}
    return tuple(
        dataclasses.replace(each, model=dataclasses.replace(each.model, **unknown))
        for each in (theirs, ours)
    )


def describe_source_change(run: Run, config: Config) -> str | None:
    """Says that the file of a user's network is not the one of `run`; None if it is."""
    theirs, ours = run.config().model.source_sha256, config.model.source_sha256
    if None in (theirs, ours) or theirs == ours:
        return None
    return (
        f"{config.model.name} has changed since {run.path} was trained; "
        f"{run.path / SOURCE} has the file that it was built from"
    )


def check_directory(path: pathlib.Path) -> None:
    """Checks that a run can be created or resumed in `path`; writes nothing.

    `layout.check_storage` also tries to write there.

    Raises:
        InvalidInput: `path` is a file or inside one, contains something other than a
            run, or cannot be written.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # these are checked below
    except OSError as error:  # the name is too long, or links form a circle
        raise InvalidInput(
            f"the run cannot be written to {path}: {error.strerror}; name another "
            "directory"
        ) from error
    if os.path.isdir(path) and not Run(path).exists and not _just_begun(path):
        raise InvalidInput(
            f"run_dir={path} is not empty and not a run; name another directory"
        )
    parent = nearest_existing(path)
    if not os.path.isdir(parent):
        raise InvalidInput(
            f"the run cannot be written to {path}: {parent} is a file; name another "
            "directory"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InvalidInput(
            f"the run cannot be written to {path}: no permission to write in {parent}; "
            "name another directory"
        )


def _check_layout(run: Run) -> None:
    """Checks that the directories and files of the run have the right type."""
    wrong = None
    for path in (
        run.checkpoints,
        run.path / "tensorboard",
        run.path / "workers",
        run.path / SOURCE,
    ):
        if os.path.lexists(path) and not os.path.isdir(path):
            kind = "a dangling link" if not os.path.exists(path) else "a file"
            wrong = f"{path} is {kind} and should be a directory"
    for path in (run.metrics, run.path / "result.json", run.path / "environment.json"):
        if os.path.isdir(path):
            wrong = f"{path} is a directory and should be a file"
        elif os.path.exists(path) and not os.path.isfile(path):
            wrong = f"{path} is a pipe or a device and should be a file"
    if os.path.islink(run.metrics):  # appending would write to the target of the link
        wrong = f"{run.metrics} is a link and should be a file"
    if wrong:
        raise InvalidInput(f"{wrong}; move it away, or name another `run_dir`")


def _just_begun(path: pathlib.Path) -> bool:
    """Whether `path` is empty or has only files that are written before config.json."""
    names = {p.name for p in path.iterdir() if not p.name.startswith(".probe.tmp-")}
    claimed = any(name.lstrip(".").startswith("owner.json") for name in names)
    return claimed or names <= {"workers"}


def check_space(run: Run, run_config: RunConfig, checkpoint_bytes: int) -> None:
    """Checks that all checkpoints to keep fit on the disk, each `checkpoint_bytes`.

    Raises:
        InvalidInput: the run is new, and its checkpoints do not fit.
        PeerLost: the run is resumed, and the disk is full.
    """
    kept = run_config.keep_checkpoints
    have = len(checkpoints.list_folders(run.checkpoints))
    need = checkpoint_bytes * max(1, kept + 1 - have)
    parent = nearest_existing(run.path)
    free = shutil.disk_usage(parent).free
    if need > free:
        text = (
            f"{need:,} bytes more are needed for {kept} checkpoints, {free:,} are free "
            "(see `keep_checkpoints`)"
        )
        error = OSError(errno.ENOSPC, text, str(parent))
        restart = run.exists and not run_config.dry_run
        raise as_refusal(
            f"the run cannot be written to {run.path}", error, restart=restart
        )
