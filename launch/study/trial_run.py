"""Trial run: carries one stage of a trial out, through restarts, to its record."""

import collections
import dataclasses
import os
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from launch import trainer_command
from launch.study import trial_plan, trial_records
from launch.study.study_definition import StudyDefinition
from launch.study.trial_plan import TrialTask
from launch.study.trial_records import (
    INT8_BYTES,
    LATENCY,
    TrialRecord,
    TrialState,
    ValidationPoint,
)
from launch.supervisor import exit_policy, process_identity
from launch.supervisor.heartbeat_file import HeartbeatFile
from launch.supervisor.log_file import WorkerLog
from launch.supervisor.worker_process import WorkerProcess, WorkerSpec
from trainer.contract import (
    EXIT_FAILED,
    EXIT_WRONG_USAGE,
    HEARTBEAT_VARIABLE,
    TF_CONFIG,
    is_progress_line,
)

_T = TypeVar("_T")

LOG_NAME = "trial"
RESULT = "result.json"
_FIRST_BACKOFF_SECS, _LONGEST_BACKOFF_SECS = 1.0, 60.0
_MARGIN_SECS = 15.0  # in addition to the grace period, for the exit of the interpreter
_REASON_CHARS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialPrograms:
    """Commands without flags, which tests replace by smaller programs."""

    prepare: tuple[str, ...] = (sys.executable, "-m", trainer_command.PREPARE_MODULE)
    train: tuple[str, ...] = (sys.executable, "-m", trainer_command.MODULE)
    tflite: tuple[str, ...] = (sys.executable, "-m", "export.tflite")
    bench: tuple[str, ...] = (sys.executable, "-m", "export.bench")
    report: tuple[str, ...] = (sys.executable, "-m", "eval.report")
    study: tuple[str, ...] = (sys.executable, "-m", "eval.study")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialPlace:
    """Where a trial runs: directory, cores, GPUs, limits.

    Attributes:
      run_dir: of the trial.
      scratch: directory for its heartbeat.
      cores: numbers of the processor cores.
      gpus: names of the CUDA devices.
      hang_secs: longest time without progress.
      max_restarts: number of restarts without progress between them.
    """

    run_dir: pathlib.Path
    scratch: pathlib.Path
    cores: Sequence[int]
    gpus: Sequence[str]
    hang_secs: float
    max_restarts: int
    first_backoff_secs: float = _FIRST_BACKOFF_SECS
    programs: TrialPrograms = TrialPrograms()


class TrialRun:
    """Processes of one stage of a trial, one after the other; no method blocks.

    `poll` returns the record when the stage is over. A process that died is started
    again; what it had saved is not lost.
    """

    def __init__(
        self,
        task: TrialTask,
        record: TrialRecord,
        definition: StudyDefinition,
        place: TrialPlace,
        *,
        clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self.task, self.record, self.place = task, record, place
        self.curve: tuple[ValidationPoint, ...] = record.curve
        self.phase = "start"
        self.is_stopped = False
        self._definition = definition
        self._grace_secs = trainer_command.find_grace_secs(definition.trainer_flags)
        self._images = record.images
        self._commands = collections.deque(_build_commands(self, definition))
        self._clock, self._say = clock, say
        self._process: WorkerProcess | None = None
        self._exit: _ProcessExit | None = None
        self._starts, self._restarts, self._best_step = 0, 0, -1
        self._not_before = clock()
        self._kill_at: float | None = None
        self._pruned: int | None = None
        self._waits_for: str | None = None
        self._seen: tuple[int, int] | None = (0, 0)
        if (place.run_dir / RESULT).is_file():
            self._commands.popleft()  # a finished trial is never trained again

    @property
    def progress(self) -> str:
        """Phase, and the last step that the process reported."""
        step = self._process.heartbeat.step if self._process else None
        return self.phase if step is None else f"{self.phase} step {step}"

    def poll(self) -> TrialRecord | None:
        """Starts, watches or ends the process; returns the record at the end."""
        self._read_curve()
        if self._process is not None:
            ended = self._watch(self._process)
            return None if ended is None else self._after_exit(ended)
        if self.is_stopped or self._clock() < self._not_before:
            return None
        if self._pruned is not None or not self._commands:
            return self._conclude()
        if not self._is_busy():
            self._start(self._commands[0])
        return None

    def stop(self, number: int) -> None:
        """Passes a signal on; the trial saves, ends, and is not started again."""
        self.is_stopped = True
        self._send(number)

    @property
    def images(self) -> int | None:
        """Number of validation rows, None before the first validation."""
        return self._images

    @property
    def has_process(self) -> bool:
        """Whether a process is running."""
        return self._process is not None

    def kill(self) -> None:
        """Kills the process and waits for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.close()
            self._process = None

    def _start(self, command: Sequence[str]) -> None:
        self._starts += 1
        name = f"trial-{self.record.number}"
        beat = self.place.scratch / f"{name}-{self.task.stage}-{self._starts}.json"
        environment = {k: v for k, v in os.environ.items() if k != TF_CONFIG}
        environment |= {
            "CUDA_VISIBLE_DEVICES": ",".join(self.place.gpus),
            HEARTBEAT_VARIABLE: str(beat),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._process = WorkerProcess(
            WorkerSpec(
                name=name,
                index=self.record.number,
                command=list(command),
                cores=self.place.cores,
                environment=environment,
            ),
            heartbeat=HeartbeatFile(beat, self._clock()),
            log=WorkerLog(str(self.place.run_dir), LOG_NAME, self._starts),
            show=lambda _: None,
        )

    def _watch(self, process: WorkerProcess) -> "_ProcessExit | None":
        """Forwards output to the log; returns the exit of a process that is over."""
        process.forward_output()
        now = self._clock()
        process.heartbeat.refresh(now)
        if (step := process.heartbeat.step) is not None:
            self.phase = process.heartbeat.phase
            if step > self._best_step:
                self._best_step, self._restarts = step, 0
        silent = now - process.heartbeat.changed_secs
        ended = process.poll() is not None
        if not ended and self._pruned is not None and self._kill_at is None:
            self._send(signal.SIGTERM)
        stuck = step is not None and silent > self.place.hang_secs
        late = self._kill_at is not None and now >= self._kill_at
        if not (ended or stuck or late):
            return None
        process.kill()  # and what it may have started
        process.close()
        self._process, self._kill_at = None, None
        code = process.poll()
        text = _describe_exit(code or 0)
        if stuck and not ended:
            text = f"made no progress for {silent:.0f} s"
        return _ProcessExit(code or 0, text, list(process.last_lines))

    def _send(self, number: int) -> None:
        if self._process is not None:
            self._process.send(number)
            if self._kill_at is None:
                secs = self._grace_secs + _MARGIN_SECS
                self._kill_at = self._clock() + secs

    def _after_exit(self, ended: "_ProcessExit") -> TrialRecord | None:
        """Decides what follows the exit of a process."""
        self._read_curve()
        if self.is_stopped or self._pruned is not None:
            return None
        if ended.code == 0:
            self._commands.popleft()
            return None
        if ended.code == EXIT_WRONG_USAGE and self._is_busy():
            return None
        if ended.code in (EXIT_FAILED, EXIT_WRONG_USAGE):
            return self._fail(ended.find_reason())
        return self._restart(ended.text)

    def _restart(self, what: str) -> TrialRecord | None:
        if self._restarts >= self.place.max_restarts:
            return self._fail(f"{what}, {self._restarts + 1} times without progress")
        secs = self.place.first_backoff_secs * 2**self._restarts
        self._restarts += 1
        self._not_before = self._clock() + min(secs, _LONGEST_BACKOFF_SECS)
        self._say(f"trial {self.record.number} {what}; it goes on where it was saved")
        return None

    def _conclude(self) -> TrialRecord:
        """Builds the record of a stage that is over."""
        curve = self.curve
        done = dataclasses.replace(
            self.record,
            stages=self.task.stage + 1,
            curve=curve,
            images=self._images,
        )
        if self._pruned is not None:
            limit = self.task.limits[self._pruned - 1]
            return dataclasses.replace(
                done,
                state=TrialState.PRUNED,
                curve=curve[: self._pruned],
                reason=f"below the median {limit:.4f} of earlier trials",
            )
        result = trial_records.read_json(self.place.run_dir / RESULT)
        if self.task.pause_at is not None and result is None:
            if not curve:
                return self._fail("there are no validation rows to compare trials by")
            return done
        if self.task.pause_at is not None:
            return done  # a training so short that it ends in this stage
        return self._complete(done, result or {})

    def _complete(self, done: TrialRecord, result: Mapping[str, Any]) -> TrialRecord:
        try:
            values = trial_records.read_values(
                self.place.run_dir, self._definition.objectives, result
            )
        except ValueError as error:
            return self._fail(str(error))
        return dataclasses.replace(
            done,
            state=TrialState.COMPLETE,
            values=values,
            seconds=_find(result, "train_seconds", float),
            weights_sha256=_find(result, "weights_sha256", str),
            images=self._images or _find(result, "validation_images", int),
        )

    def _fail(self, reason: str) -> TrialRecord:
        return dataclasses.replace(
            self.record,
            state=TrialState.FAILED,
            curve=self.curve,
            images=self._images,
            reason=reason[:_REASON_CHARS],
        )

    def _read_curve(self) -> None:
        seen = trial_records.find_version(self.place.run_dir)
        if seen == self._seen:
            return
        self._seen = seen
        found, images = trial_records.read_curve(self.place.run_dir)
        self.curve, self._images = found, images or self._images
        if self._pruned is None:
            self._pruned = trial_plan.find_pruned_length(found, self.task.limits)

    def _is_busy(self) -> bool:
        """Whether a process of another supervisor is still writing to the run."""
        owner = trial_records.read_json(self.place.run_dir / "owner.json") or {}
        busy = bool(owner.get("held")) and process_identity.is_owner_alive(owner)
        if busy and self._waits_for != (text := f"process {owner.get('pid')}"):
            self._waits_for = text
            self._say(f"trial {self.record.number} waits for the end of {text}")
        return busy


def _build_commands(run: TrialRun, definition: StudyDefinition) -> list[list[str]]:
    """Builds the commands of one stage of a trial, in their order."""
    record, programs = run.record, run.place.programs
    where = f"--run_dir={run.place.run_dir}"
    arguments = definition.trial_arguments(
        record.number, record.flags, tested=run.task.tested
    )
    train = [*programs.train, *arguments, where]
    if run.task.pause_at is not None:
        return [[*train, f"--pause_at={run.task.pause_at!r}"]]
    commands = [train]
    if {INT8_BYTES, LATENCY}.intersection(definition.objectives):
        commands.append([*programs.tflite, "--quantize", where])
    if LATENCY in definition.objectives:
        only = ("--formats=int8", "--targets=none")  # the objective is of this file
        commands.append([*programs.bench, *only, where])
    return commands


@dataclasses.dataclass(frozen=True)
class _ProcessExit:
    """Exit of a process: code, -n after signal n; what happened; its last lines."""

    code: int
    text: str
    lines: list[str]

    def find_reason(self) -> str:
        """Finds its message: two lines at most after the name of a command."""
        lines = [line for line in self.lines if not is_progress_line(line)]
        for i, line in enumerate(lines):
            if re.match(r"(trainer|export|eval)\.\w+: ", line):
                return " ".join(" ".join(lines[i : i + 2]).split())
        return lines[-1] if lines else self.text


def _describe_exit(code: int) -> str:
    exited = exit_policy.decide([exit_policy.WorkerExit(index=0, code=code)])
    return exited.reason


def _find(result: Mapping[str, Any], name: str, kind: type[_T]) -> _T | None:
    found = result.get(name)
    return found if isinstance(found, kind) else None
