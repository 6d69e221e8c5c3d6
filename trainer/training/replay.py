"""Replays steps of a run from one kept checkpoint to the next and compares the hashes.

Synopsis::

    python -m trainer.recheck --run_dir=runs/demo

It writes nothing. Exit 0: every hash came out as the manifests say. Exit 1: one did
not, or this machine is another kind than the one that trained.
"""

import contextlib
import dataclasses
import typing
from collections.abc import Iterator

from trainer import errors
from trainer.config.enums import Strategy
from trainer.config.schema import RunConfig
from trainer.config.serialization import differences
from trainer.distributed import environment, shutdown
from trainer.distributed.heartbeat import Heartbeat
from trainer.errors import TrainingFailed, UsageError
from trainer.monitoring import native_output
from trainer.rundir import checkpoints, layout, resume
from trainer.training import callbacks, loop, session

if typing.TYPE_CHECKING:
    from trainer.rundir.checkpoints import Checkpoint
    from trainer.training.loop import BlockSizer, StepBlock
    from trainer.training.session import TrainingSession
COMPARED = ("rows_sha256", "raw_weights_sha256", "weights_sha256")


def replay(run: layout.Run, data_dir: str | None) -> str:
    """Replays the run's kept checkpoints; returns what was confirmed.

    Raises:
        UsageError: there is nothing to replay.
        Failure: names the difference.
    """
    kept = _kept(run)
    with native_output.suppress_native_stderr():
        from trainer.distillation import soft_labels
    placed = _placed(run, kept[-1], data_dir)
    request = shutdown.StopRequest(placed.grace_secs)
    request.install()
    request.allow("while replaying; nothing was written")
    job = session.build(run, run.config(), placed, request, Heartbeat.alone())
    _check_place(job, kept)
    soft_labels.prepare_soft_labels(job, write=False)
    return _replay_kept(job, kept)


def _kept(run: layout.Run) -> "list[Checkpoint]":
    """The good checkpoints, oldest first; at least one."""

    kept, listed = [], checkpoints.list_folders(run.checkpoints)
    expected = _expected(run) if listed else {}
    for path in reversed(listed):
        try:
            found = checkpoints.load(path, expected=expected)
            if "place" not in found.facts:
                raise errors.CorruptCheckpoint("it does not say where it was made")
            kept.append(found)
        except checkpoints.OtherWeights as error:
            raise TrainingFailed(f"{path}: {error}") from error
        except (errors.CorruptCheckpoint, FileNotFoundError) as error:
            print(f"skipped checkpoint {path}: {error}")
    if not kept:
        raise UsageError(
            f"{run.path} has no good checkpoint to compare with; train it on with "
            "python -m trainer.main"
        )
    return kept


def _expected(run: layout.Run) -> dict[str, typing.Any]:
    """What all checkpoints of `run` say, as the trainer asks it of them."""
    data = run.recorded().get("data")
    if not isinstance(data, dict):
        raise _damaged(run, "data")
    return {"config": run.config().to_json(), "data": data}


def _damaged(run: layout.Run, part: str) -> UsageError:
    return UsageError(
        f"{run.path / 'config.json'} is damaged: it has no {part}; restore it"
    )


def _placed(run: layout.Run, last: "Checkpoint", data_dir: str | None) -> RunConfig:
    """The replicas that trained up to `last`, in this process."""
    place = last.facts["place"]
    if place["workers"] > 1:
        raise TrainingFailed(
            f"{run.path} was trained by {place['workers']} workers, and one process "
            "sums in another order; only runs of one process can be replayed"
        )
    recorded = run.recorded().get("run")
    if not isinstance(recorded, dict) or "data_dir" not in recorded:
        raise _damaged(run, "run")
    strategy, devices = Strategy(place["strategy"]), place["environment"]["devices"]
    split = strategy is Strategy.MIRRORED and devices == ["CPU"]
    return RunConfig(
        strategy=strategy,
        logical_devices=place["replicas"] if split else None,
        threads=place["environment"]["threads"],
        data_dir=recorded["data_dir"] if data_dir is None else data_dir,
        teacher=recorded.get("teacher"),
        run_dir=str(run.path),
        dry_run=True,
    )


def _check_place(job: "TrainingSession", kept: "list[Checkpoint]") -> None:

    resume.check_data(job)
    here = environment.reproducibility_key(job)
    for checkpoint in kept:
        made = dict(checkpoint.facts["place"])
        before, now = made.pop("environment"), job.environment
        found = differences(made, {k: here[k] for k in here if k != "environment"})
        found += environment.changes(before, now)
        if found:
            raise TrainingFailed(
                f"the bits of step {checkpoint.step} were made elsewhere (then -> now: "
                f"{'; '.join(found)});\nreplay them where they were made"
            )
    if missing := environment.unknown(before):
        print(f"not recorded then, so not compared: {', '.join(missing)}")


def _replay_kept(job: "TrainingSession", kept: "list[Checkpoint]") -> str:
    from trainer.training.loop import BlockSizer

    said, stops = "", tuple(checkpoint.step for checkpoint in kept)
    job.plan = dataclasses.replace(job.plan, stops=stops)
    if len(kept) > 1:
        first = kept.pop(0)
        job.state.load(first.arrays, first.facts)
    pace = BlockSizer(None)
    steps = loop.timed_step(job.trainer, job.state, job.clock, pace, job.request)
    shown = callbacks.ProgressCallback(job.plan, job.progress, job.clock)
    for checkpoint in kept:
        before = job.state.step
        loop.train(job.state, steps, [shown], calls=_until(checkpoint.step, job, pace))
        _compare(job, checkpoint, before)
        said += f"steps {before + 1} to {checkpoint.step}: {', '.join(COMPARED)} "
        said += "are those of the manifest\n"
    return said.rstrip()


def _until(
    step: int, job: "TrainingSession", pace: "BlockSizer"
) -> Iterator["StepBlock"]:
    calls = job.calls(pace)
    while job.state.step < step:
        yield next(calls)


def _compare(job: "TrainingSession", checkpoint: "Checkpoint", before: int) -> None:
    """Raises Failure unless the state is that of `checkpoint`."""
    arrays = job.state.arrays()  # older checkpoints have not all of them
    facts = job.state.facts({k: v for k, v in arrays.items() if k in checkpoint.arrays})
    for name in COMPARED:
        theirs = checkpoint.facts[name]
        if facts[name] != theirs:
            deterministic = "" if job.config.deterministic else " (--nodeterministic)"
            raise TrainingFailed(
                f"steps {before + 1} to {checkpoint.step}{deterministic} gave {name} "
                f"{facts[name][:12]}, {checkpoint.path} has {theirs[:12]};\nthe code "
                f"was {_commit(job.run)}, now it is "
                f"{job.environment['commit']}"
            )


def _commit(run: layout.Run) -> str | None:
    with contextlib.suppress(UsageError):
        return run.environment().get("commit")
    return "unknown"
