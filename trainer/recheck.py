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

from absl import flags

from trainer import commandline, quiet, runs, signals
from trainer.choices import Strategy
from trainer.commandline import Failure, UsageError
from trainer.heartbeat import Heartbeat
from trainer.nested import differences
from trainer.run_config import RunConfig

if typing.TYPE_CHECKING:
    from trainer.checkpoints import Checkpoint
    from trainer.clock import Pace
    from trainer.job import Job
    from trainer.loop import Call

SUMMARY = "Replays a run's steps between kept checkpoints and compares the hashes."
COMPARED = ("rows_sha256", "raw_weights_sha256", "weights_sha256")


def recheck(run: runs.Run, data_dir: str | None) -> str:
    """Replays the run's kept checkpoints; returns what was confirmed.

    Raises:
        UsageError: there is nothing to replay.
        Failure: names the difference.
    """
    kept = _kept(run)
    with quiet.start_up():
        from trainer import job as jobs
        from trainer import lessons
    placed = _placed(run, kept[-1], data_dir)
    request = signals.StopRequest(placed.grace_secs)
    request.install()
    request.allow("while replaying; nothing was written")
    job = jobs.assemble(run, run.config(), placed, request, Heartbeat.alone())
    _check_place(job, kept)
    lessons.learn(job, write=False)
    return _replay(job, kept)


def _kept(run: runs.Run) -> "list[Checkpoint]":
    """The good checkpoints, oldest first; at least one."""
    from trainer import checkpoints

    kept, listed = [], checkpoints.listed(run.checkpoints)
    expected = _expected(run) if listed else {}
    for path in reversed(listed):
        try:
            found = checkpoints.read(path, expected=expected)
            if "place" not in found.facts:
                raise checkpoints.Damaged("it does not say where it was made")
            kept.append(found)
        except checkpoints.OtherWeights as error:
            raise Failure(f"{path}: {error}") from error
        except (checkpoints.Damaged, FileNotFoundError) as error:
            print(f"skipped checkpoint {path}: {error}")
    if not kept:
        raise UsageError(
            f"{run.path} has no good checkpoint to compare with; train it on with "
            "python -m trainer.main"
        )
    return kept


def _expected(run: runs.Run) -> dict[str, typing.Any]:
    """What all checkpoints of `run` say, as the trainer asks it of them."""
    data = run.recorded().get("data")
    if not isinstance(data, dict):
        raise _damaged(run, "data")
    return {"config": run.config().to_json(), "data": data}


def _damaged(run: runs.Run, part: str) -> UsageError:
    return UsageError(
        f"{run.path / 'config.json'} is damaged: it has no {part}; restore it"
    )


def _placed(run: runs.Run, last: "Checkpoint", data_dir: str | None) -> RunConfig:
    """The replicas that trained up to `last`, in this process."""
    place = last.facts["place"]
    if place["workers"] > 1:
        raise Failure(
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


def _check_place(job: "Job", kept: "list[Checkpoint]") -> None:
    from trainer import environment, resumption

    resumption.check_data(job)
    here = environment.place(job)
    for checkpoint in kept:
        made = dict(checkpoint.facts["place"])
        before, now = made.pop("environment"), job.environment
        found = differences(made, {k: here[k] for k in here if k != "environment"})
        found += environment.changes(before, now)
        if found:
            raise Failure(
                f"the bits of step {checkpoint.step} were made elsewhere (then -> now: "
                f"{'; '.join(found)});\nreplay them where they were made"
            )
    if missing := environment.unknown(before):
        print(f"not recorded then, so not compared: {', '.join(missing)}")


def _replay(job: "Job", kept: "list[Checkpoint]") -> str:
    from trainer import actions, loop
    from trainer.clock import Pace

    said, stops = "", tuple(checkpoint.step for checkpoint in kept)
    job.plan = dataclasses.replace(job.plan, stops=stops)
    if len(kept) > 1:
        first = kept.pop(0)
        job.state.load(first.arrays, first.facts)
    pace = Pace(None)
    steps = loop.timed(job.trainer, job.state, job.clock, pace, job.request)
    shown = actions.Report(job.plan, job.progress, job.clock)
    for checkpoint in kept:
        before = job.state.step
        loop.train(job.state, steps, [shown], calls=_until(checkpoint.step, job, pace))
        _compare(job, checkpoint, before)
        said += f"steps {before + 1} to {checkpoint.step}: {', '.join(COMPARED)} "
        said += "are those of the manifest\n"
    return said.rstrip()


def _until(step: int, job: "Job", pace: "Pace") -> Iterator["Call"]:
    calls = job.calls(pace)
    while job.state.step < step:
        yield next(calls)


def _compare(job: "Job", checkpoint: "Checkpoint", before: int) -> None:
    """Raises Failure unless the state is that of `checkpoint`."""
    arrays = job.state.arrays()  # older checkpoints have not all of them
    facts = job.state.facts({k: v for k, v in arrays.items() if k in checkpoint.arrays})
    for name in COMPARED:
        theirs = checkpoint.facts[name]
        if facts[name] != theirs:
            deterministic = "" if job.config.deterministic else " (--nodeterministic)"
            raise Failure(
                f"steps {before + 1} to {checkpoint.step}{deterministic} gave {name} "
                f"{facts[name][:12]}, {checkpoint.path} has {theirs[:12]};\nthe code "
                f"was {_commit(job.run)}, now it is "
                f"{job.environment['commit']}"
            )


def _commit(run: runs.Run) -> str | None:
    with contextlib.suppress(UsageError):
        return run.environment().get("commit")
    return "unknown"


def _define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Run"}
    flags.DEFINE_string("run_dir", None, "The run; off: runs/latest.", **where)
    flags.DEFINE_string(
        "data_dir", None, "Where its TFDS data set is; off: where it was.", **where
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **where)
    return values


def main(values: flags.FlagValues) -> None:
    """Replays --run_dir and says what was confirmed."""
    run = runs.find(values.run_dir)
    try:
        print(recheck(run, values.data_dir))
    except ValueError as error:
        raise UsageError(str(error)) from error


if __name__ == "__main__":
    _values = _define(flags.FlagValues())
    commandline.run("trainer.recheck", SUMMARY, _values, lambda: main(_values))
