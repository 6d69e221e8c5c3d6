"""Replays the steps between the kept checkpoints of a run and compares the hashes.

It writes nothing. It raises TrainingFailed if a hash differs, or if the environment is
not the one that the run was trained in. The number of replicas and workers may differ
with elastic shards, which give the same bits on any number.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from trainer import errors
from trainer.config.enums import Strategy
from trainer.config.options import DATA, DISTILLATION, KEY, PRETRAINED
from trainer.config.run_config import RunConfig
from trainer.config.serialization import differences, from_plain
from trainer.distributed import environment
from trainer.distributed.heartbeat import Heartbeat
from trainer.distributed.shutdown import StopRequest
from trainer.errors import InvalidConfig, InvalidInput, TrainingFailed
from trainer.rundir import checkpoints, resume
from trainer.rundir.checkpoints import Checkpoint
from trainer.rundir.layout import Run
from trainer.training import callbacks, loop, start
from trainer.training.loop import BlockSizer, StepBlock
from trainer.training.session import TrainingSession

COMPARED = ("rows_sha256", "raw_weights_sha256", "weights_sha256")
# The options that say what is read; `test` decides which splits are.
_READ = {"test"} | {
    field.name
    for field in dataclasses.fields(RunConfig)
    if KEY in field.metadata
    and field.metadata[KEY].group in (DATA, DISTILLATION, PRETRAINED)
}


def replay(run: Run, data_dir: str | None) -> str:
    """Replays a run between its kept checkpoints; returns the confirmed steps as text.

    `data_dir` is the directory of the data set; None: the recorded one.

    Raises:
        InvalidInput: there is nothing to replay.
        TrainingFailed: a hash or the environment differs.
    """
    kept = _load_kept(run)
    run_config = _run_config(run, kept[-1], data_dir)
    request = StopRequest(run_config.grace_secs)
    request.install()
    request.allow("while replaying; nothing was written")
    built = start.build_session(
        run, run.config(), run_config, request, Heartbeat.without_peers()
    )
    _check_machine(built, kept)
    built.prepare_soft_labels(write=False)
    return _replay_kept(built, kept)


def _load_kept(run: Run) -> list[Checkpoint]:
    """Loads the valid checkpoints, oldest first; at least one."""
    kept, listed = [], checkpoints.list_folders(run.checkpoints)
    expected = _expected(run) if listed else {}
    for path in reversed(listed):
        try:
            found = checkpoints.load(path, expected=expected)
            if "place" not in found.facts:
                raise errors.CorruptCheckpoint("it does not name its environment")
            kept.append(found)
        except checkpoints.OtherWeights as error:
            raise TrainingFailed(f"{path}: {error}") from error
        except (errors.CorruptCheckpoint, FileNotFoundError) as error:
            print(f"skipped checkpoint {path}: {error}")
    if not kept:
        raise InvalidInput(
            f"{run.path} has no good checkpoint to compare with;\n"
            f"resume its training with run_dir={run.path}"
        )
    return kept


def _expected(run: Run) -> dict[str, Any]:
    """Collects the fields that every checkpoint of `run` must have."""
    data = run.recorded().get("data")
    if not isinstance(data, dict):
        raise _damaged(run, "data")
    return {"config": run.config().to_json(), "data": data}


def _damaged(run: Run, part: str) -> InvalidInput:
    return InvalidInput(
        f"{run.path / 'config.json'} is damaged: it has no {part}; restore it"
    )


def _run_config(run: Run, last: Checkpoint, data_dir: str | None) -> RunConfig:
    """Builds the RunConfig with the replicas and threads that trained up to `last`.

    One replica replays the elastic shards of several workers.
    """
    place = last.facts["place"]
    strategy, devices = Strategy(place["strategy"]), place["environment"]["devices"]
    if place["workers"] > 1:
        if run.config().elastic_shards is None:
            raise TrainingFailed(
                f"{run.path} was trained by {place['workers']} workers, and one "
                "process sums in another order; such a run can be replayed only if it "
                "has `elastic_shards`"
            )
        strategy = Strategy.ONE_DEVICE
    split = strategy is Strategy.MIRRORED and devices == ["CPU"]
    recorded = _recorded_inputs(run)
    return dataclasses.replace(
        recorded,
        strategy=strategy,
        logical_devices=place["replicas"] if split else None,
        threads=place["environment"]["threads"],
        data_dir=recorded.data_dir if data_dir is None else data_dir,
        run_dir=str(run.path),
        dry_run=True,
    )


def _recorded_inputs(run: Run) -> RunConfig:
    """Restores the options that say what is read; the others have their defaults."""
    recorded = run.recorded().get("run")
    if not isinstance(recorded, dict) or "data_dir" not in recorded:
        raise _damaged(run, "run")
    kept = {name: recorded[name] for name in _READ & recorded.keys()}
    try:
        return from_plain(RunConfig, kept, "run.")
    except InvalidConfig as error:
        text = f"{run.path / 'config.json'} is damaged: {error}; restore it"
        raise InvalidInput(text) from error


def _check_machine(built: TrainingSession, kept: list[Checkpoint]) -> None:
    """Raises TrainingFailed if data or environment differ from the checkpoints'."""
    resume.check_data(built.run, built.metadata.data)
    here, now = built.metadata.reproducibility_key, built.metadata.environment
    for checkpoint in kept:
        made = dict(checkpoint.facts["place"])
        before = made.pop("environment")
        found = environment.find_changes(before, now)
        if built.config.elastic_shards is None:
            found += differences(made, {k: here[k] for k in here if k != "environment"})
        if found:
            raise TrainingFailed(
                f"step {checkpoint.step} was computed in another environment (then -> "
                f"now: {'; '.join(found)});\nreplay it in the same environment"
            )
    if missing := environment.find_unrecorded(before):
        print(f"not recorded at that time, so not compared: {', '.join(missing)}")


def _replay_kept(built: TrainingSession, kept: list[Checkpoint]) -> str:
    said, stops = "", tuple(checkpoint.step for checkpoint in kept)
    built.timetable = dataclasses.replace(built.timetable, stops=stops)
    state, sizer = built.state, BlockSizer(None)
    if len(kept) > 1:
        first = kept.pop(0)
        state.load(first.arrays, first.facts)
    timer = built.monitor.timer
    run_block = loop.timed_step(built.train_step, state, timer, sizer)
    shown = [callbacks.ProgressCallback(built.timetable, built.monitor)]
    shown.append(lambda _state, _output: sizer.set_agreed(sizer.proposal()))
    for checkpoint in kept:
        before = state.step
        blocks = _blocks_until(checkpoint.step, built, sizer)
        with built.reading_ahead():
            loop.train(state, run_block, shown, blocks=blocks)
        _compare(built, checkpoint, before)
        said += f"steps {before + 1} to {checkpoint.step}: {', '.join(COMPARED)} "
        said += f"are those of the manifest{_describe_move(checkpoint, built)}\n"
    return said.rstrip()


def _describe_move(checkpoint: Checkpoint, built: TrainingSession) -> str:
    """Says that other replicas computed the steps before `checkpoint`; '' if none."""
    then, now = checkpoint.facts["place"]["replicas"], built.cluster.replicas
    return "" if then == now else f" (replicas: {then} -> {now})"


def _blocks_until(
    step: int, built: TrainingSession, sizer: BlockSizer
) -> Iterator[StepBlock]:
    blocks = built.blocks(sizer)
    while built.state.step < step:
        yield next(blocks)


def _compare(built: TrainingSession, checkpoint: Checkpoint, before: int) -> None:
    """Raises TrainingFailed unless the state equals that of `checkpoint`."""
    arrays = built.state.arrays()  # older checkpoints do not have all of them
    known = {k: v for k, v in arrays.items() if k in checkpoint.arrays}
    facts = built.state.facts(known)
    for name in COMPARED:
        theirs = checkpoint.facts[name]
        if facts[name] != theirs:
            exact = built.config.deterministic
            deterministic = "" if exact else " (deterministic=False)"
            raise TrainingFailed(
                f"steps {before + 1} to {checkpoint.step}{deterministic} gave {name} "
                f"{facts[name][:12]}, {checkpoint.path} has {theirs[:12]};\nthe code "
                f"was {_commit(built.run)}, now it is "
                f"{built.metadata.environment['commit']}"
            )


def _commit(run: Run) -> str | None:
    with contextlib.suppress(InvalidInput):
        return run.environment().get("commit")
    return "unknown"
