"""Resume: restores the last checkpoint, the same one on all workers."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from trainer.config.enums import Resume
from trainer.distributed import environment
from trainer.distributed.collectives import HASH_BYTES, digest, gather
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput, PeerLost
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.rundir.metadata import RunMetadata, data_differences


class Restorable(Protocol):
    """A training state that is saved in checkpoints."""

    step: int

    def load(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Restores the state from the arrays and the manifest of a checkpoint."""

    def facts(self) -> dict[str, Any]:
        """Collects the fields of the manifest."""


def check_data(run: Run, data: dict[str, Any]) -> None:
    """Raises InvalidInput unless `run` was trained on the data in `data`."""
    theirs = run.recorded().get("data", {})
    if not isinstance(theirs, dict):
        raise InvalidInput(
            f"{run.path / 'config.json'} is damaged: its data is {theirs!r:.80}, "
            "not an object; restore it, or name another `run_dir`"
        )
    if found := data_differences(theirs, data):
        named = "; ".join(found)[:500]
        raise InvalidInput(
            f"{run.path} was trained on other data (its != yours: {named});\n"
            "give its own `data_dir`, or another `run_dir`"
        )


def restore_latest(
    run: Run,
    state: Restorable,
    cluster: Cluster,
    metadata: RunMetadata,
    say: Callable[[str], None],
) -> bool:
    """Restores the newest good checkpoint, if there is one; returns whether it did.

    The chief chooses the checkpoint for all workers. `say` receives messages.

    Raises:
        InvalidInput: the data differ, or `resume` requires a checkpoint and there is
            none.
        Interrupted: with exit code 175: not all workers restored the same weights.
    """
    if cluster.chief:
        _choose(run, state, metadata, say)
    if cluster.workers > 1:
        _verify_agreement(run, state, cluster, say)
    return state.step > 0


def _choose(
    run: Run, state: Restorable, metadata: RunMetadata, say: Callable[[str], None]
) -> None:
    if not run.exists:
        return
    check_data(run, metadata.data)
    if note := _describe_changes(run, metadata.environment):
        say(note)
    checkpoint = checkpoints.load_latest(
        run.checkpoints, skipped=say, expected=metadata.expected()
    )
    if checkpoint is not None:
        try:
            state.load(checkpoint.arrays, checkpoint.facts)
        except ValueError as error:
            raise InvalidInput(
                f"{checkpoint.path} does not belong to this run: {error}; move it away"
            ) from error
        say(f"resumed {run.path} after step {checkpoint.step}")
    elif metadata.run_config.resume is Resume.MUST:
        raise InvalidInput(
            f"resume=must, but {run.path} has no good checkpoint; leave "
            "`resume` out to start it again"
        )


def _describe_changes(run: Run, now: dict[str, Any]) -> str | None:
    try:
        before = run.environment()
    except InvalidInput as error:
        return f"{error}; whether the machine changed is not known"
    return environment.describe_changes(before, now)


def _verify_agreement(
    run: Run, state: Restorable, cluster: Cluster, say: Callable[[str], None]
) -> None:
    """Makes all workers restore the checkpoint of the chief, and compares hashes."""
    step = int(gather(cluster, [state.step])[0, 0])
    if step != state.step:
        _restore_step(
            run, state, step, lambda text: say(f"worker {cluster.worker} {text}")
        )
    weights = digest(state.facts()["weights_sha256"])
    held = gather(cluster, [state.step, weights])
    for worker, theirs in enumerate(held):
        if (theirs != held[0]).any():
            raise PeerLost(
                f"worker {worker} restored {_describe(theirs)}, worker 0 "
                f"{_describe(held[0])}, both from {run.checkpoints};\ngive all of "
                "them the same files and restart the whole group"
            )


def _restore_step(
    run: Run, state: Restorable, step: int, say: Callable[[str], None]
) -> None:
    """Restores the checkpoint of `step`; a comparison of hashes finds a failure."""
    path = checkpoints.step_folder(run.checkpoints, step)
    try:
        checkpoint = checkpoints.load(path)
        state.load(checkpoint.arrays, checkpoint.facts)
    except (ValueError, FileNotFoundError) as error:  # CorruptCheckpoint, too
        say(f"cannot restore {path}: {error}")


def _describe(held: np.ndarray) -> str:
    weights = int(held[1]).to_bytes(HASH_BYTES, "big").hex()
    return f"step {held[0]} (weights {weights[:12]})"
