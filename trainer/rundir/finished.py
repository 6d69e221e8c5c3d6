"""Weights of a finished run that another training uses, known by their hash."""

import pathlib

import numpy as np

from trainer.errors import InvalidInput
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.rundir.weights import eval_weights


def weights_sha256(path: str, option: str) -> str:
    """Reads `weights_sha256` of the finished run in `path`, which `option` names.

    Raises:
        InvalidInput: there is no finished run.
    """
    run, named = Run(pathlib.Path(path)), f"{option}={path}"
    if not run.exists:
        raise InvalidInput(
            f"{named} is not a run; name the directory of a finished one"
        )
    result = run.result()
    if result is None:
        raise InvalidInput(
            f"{named} has not finished; resume it first, with "
            f"flagfile={path}/flags.txt and run_dir={path}"
        )
    if not isinstance(found := result.get("weights_sha256"), str):
        raise InvalidInput(f"{named}: its result.json is not one of ours")
    return found


def check_finished(run: Run, *, checkpoints_too: bool = False) -> None:
    """Checks that `run` has a result, before its weights are loaded.

    `checkpoints_too`: whether the caller also takes a checkpoint, as `checkpoint`.

    Raises:
        InvalidInput: it has not finished.
    """
    result = run.result()
    if result is not None and result.get("finished") is not False:
        return
    steps = ", ".join(map(str, list_steps(run)))
    other = f",\nor name one of its checkpoints with `checkpoint`: {steps}"
    raise InvalidInput(
        f"{run.path} has not finished; finish it with python -m trainer.main "
        f"flagfile={run.path / 'flags.txt'} run_dir={run.path}"
        + (other if steps and checkpoints_too else "")
    )


def list_steps(run: Run) -> list[int]:
    """The steps of the checkpoints of `run`, ascending."""
    found = checkpoints.list_folders(run.checkpoints)
    return sorted(int(path.name.removeprefix("step-")) for path in found)


def load_weights(run: Run, sha256: str, option: str) -> dict[str, np.ndarray]:
    """Loads the evaluated weights of `run` with hash `sha256`, by path.

    Raises:
        InvalidInput: no good checkpoint has them.
    """
    expected = {"weights_sha256": sha256}
    kept = checkpoints.load_latest(
        run.checkpoints, skipped=lambda _: None, expected=expected
    )
    if kept is None:
        raise InvalidInput(
            f"{option}={run.path} has no good checkpoint with the weights "
            f"{sha256[:12]} of its result.json; train it again"
        )
    return eval_weights(kept.arrays)
