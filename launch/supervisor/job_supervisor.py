"""Keeps one job running: starts its workers, and restarts them from checkpoints."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence

from launch import rendezvous, trainer_command
from launch.supervisor import exit_policy, log_file, temporary_files
from launch.supervisor.console import Console
from launch.supervisor.exit_policy import Decision
from launch.supervisor.group import SETTLE_SECS, Timeouts, WorkerGroup
from launch.supervisor.heartbeat_file import HeartbeatFile
from launch.supervisor.log_file import WorkerLog
from launch.supervisor.signal_queue import SignalQueue
from launch.supervisor.worker_process import WorkerProcess, WorkerSpec
from launch.trainer_command import TrainerCommand
from trainer.contract import (
    EXIT_FAILED,
    EXIT_PEER_LOST,
    EXIT_WRONG_USAGE,
    HEARTBEAT_VARIABLE,
    TF_CONFIG,
    ClusterSpec,
    is_progress_line,
)

USAGE_LINES = 2  # lines with which the trainer explains wrong usage
STORAGE_SECS = 600.0  # limit of waiting for storage that cannot be reached
_FIRST_BACKOFF_SECS, _LONGEST_BACKOFF_SECS = 1.0, 60.0
_WAITING_LINE_SECS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobPlan:
    """Plan of a job: commands, resources and timeouts.

    `cores` and `gpus` have one list for each worker; `train` and `prepare` are commands
    without the trainer's flags, which tests replace by smaller programs.
    """

    trainer: TrainerCommand
    cores: Sequence[Sequence[int]]
    gpus: Sequence[Sequence[str]]
    max_restarts: int = 3
    hang_secs: float = 300.0
    settle_secs: float = SETTLE_SECS
    first_backoff_secs: float = _FIRST_BACKOFF_SECS
    storage_secs: float = STORAGE_SECS
    writes: bool = True  # logs, once the trainer made the run
    train: tuple[str, ...] = (sys.executable, "-m", trainer_command.MODULE)
    prepare: tuple[str, ...] | None = (
        sys.executable,
        "-m",
        trainer_command.PREPARE_MODULE,
    )


class Supervisor:
    """Runs a JobPlan to its end; `run` returns the job's exit code."""

    def __init__(
        self, plan: JobPlan, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._console = Console(clock)
        self._signals = SignalQueue()

    def run(self) -> int:
        """Prepares the data set, then starts groups until one may not be restarted."""
        with self._signals, temporary_files.create_directory() as self._scratch:
            try:
                prepare = self._plan.prepare
                code = self._prepare(prepare) if prepare else 0
                return code or self._train()
            finally:
                self._console.close()

    def _prepare(self, command: Sequence[str]) -> int:
        arguments = self._plan.trainer.prepare_arguments
        cores = sorted({core for share in self._plan.cores for core in share})
        spec = WorkerSpec(
            name="prepare",
            index=0,
            command=[*command, *arguments],
            cores=cores,
            environment={},
        )
        worker = self._start(spec, 0)
        decision = self._attempt([worker], None, "")
        if decision.code:
            self._explain(decision, [worker], "prepare")
        return self._exit_code(decision)

    def _train(self) -> int:
        restarts = 0
        while True:
            if self._signals.received is not None:  # while the data was prepared
                return 128 + self._signals.received
            shown = f"{restarts}/{self._plan.max_restarts}"
            workers = self._start_workers(restarts)
            decision = self._attempt(workers, self._plan.hang_secs, shown)
            begun = any(worker.log.begun for worker in workers)
            if begun and decision.code == EXIT_WRONG_USAGE and not self._is_reachable():
                decision = dataclasses.replace(
                    decision, code=EXIT_PEER_LOST, restart=True
                )
            if decision.code:
                self._explain(decision, workers, "worker")
            if not decision.restart or self._signals.received is not None:
                return self._exit_code(decision)
            if restarts == self._plan.max_restarts:
                self._console.announce(f"gave up after {restarts} restarts")
                return decision.code
            if not self._back_off(restarts) or (begun and not self._wait_for_storage()):
                return self._exit_code(decision)
            restarts += 1

    def _attempt(
        self, workers: list[WorkerProcess], hang_secs: float | None, restarts: str
    ) -> Decision:
        group = WorkerGroup(
            workers,
            console=self._console,
            signals=self._signals,
            timeouts=Timeouts(
                grace_secs=self._plan.trainer.grace_secs,
                hang_secs=hang_secs,
                settle_secs=self._plan.settle_secs,
            ),
            clock=self._clock,
        )
        return exit_policy.decide(group.run(restarts=restarts))

    def _start_workers(self, restarts: int) -> list[WorkerProcess]:
        count = len(self._plan.cores)
        addresses = tuple(f"127.0.0.1:{port}" for port in rendezvous.free_ports(count))
        arguments = self._plan.trainer.arguments_after(restarts)
        workers: list[WorkerProcess] = []
        try:
            for index in range(count):
                cluster = ClusterSpec(workers=addresses, index=index)
                spec = WorkerSpec(
                    name=f"worker-{index}",
                    index=index,
                    command=[*self._plan.train, *arguments],
                    cores=self._plan.cores[index],
                    environment={
                        TF_CONFIG: cluster.to_json(),
                        "CUDA_VISIBLE_DEVICES": ",".join(self._plan.gpus[index]),
                    },
                )
                workers.append(self._start(spec, restarts))
        except BaseException:
            for worker in workers:
                worker.kill()
            raise
        return workers

    def _start(self, spec: WorkerSpec, restarts: int) -> WorkerProcess:
        """Starts a process with this environment and the variables of `spec`."""
        beat = self._scratch / f"{spec.name}-{restarts}.json"
        run_dir = self._plan.trainer.run_dir if self._plan.writes else None
        environment = {
            **os.environ,
            **spec.environment,
            HEARTBEAT_VARIABLE: str(beat),
            "PYTHONFAULTHANDLER": "1",  # SIGABRT shows where a stuck worker is
            "PYTHONUNBUFFERED": "1",
        }
        return WorkerProcess(
            dataclasses.replace(spec, environment=environment),
            heartbeat=HeartbeatFile(beat, self._clock()),
            log=WorkerLog(run_dir, spec.name, restarts + 1),
            show=lambda text: self._show(spec.name, text, chief=spec.index == 0),
        )

    def _show(self, name: str, text: str, *, chief: bool) -> None:
        """Shows a line of a worker; progress lines are shown for the chief only."""
        if chief or not is_progress_line(text):
            self._console.show_worker_line(name, text)

    def _explain(
        self, decision: Decision, workers: list[WorkerProcess], kind: str
    ) -> None:
        """Shows the culprit and its last lines; for wrong usage the lines only."""
        if decision.culprit is None:
            self._console.announce(decision.reason)
            return
        culprit = workers[decision.culprit]
        lines = [*culprit.last_lines]
        if decision.code == EXIT_WRONG_USAGE:
            for line in lines[-USAGE_LINES:]:
                self._console.echo_error(line)
            return
        name = kind if kind == "prepare" else f"{kind}-{decision.culprit}"
        where = f" of {culprit.log.path}" if os.path.exists(culprit.log.path) else ""
        self._console.announce(f"{name} {decision.reason}; the last lines{where}:")
        for line in lines:
            self._console.echo_error(f"  {line}")

    def _back_off(self, restarts: int) -> bool:
        """Waits before a restart, longer each time; returns False after a signal."""
        secs = min(self._plan.first_backoff_secs * 2**restarts, _LONGEST_BACKOFF_SECS)
        self._console.announce(
            f"restart {restarts + 1} of {self._plan.max_restarts} in {secs:g} s, "
            "from the last checkpoint"
        )
        end = self._clock() + secs
        while (now := self._clock()) < end and self._signals.received is None:
            self._console.remind(f"restart {restarts + 1} in {end - now:.0f} s")
            time.sleep(min(0.1, secs))
        return self._signals.received is None

    def _is_reachable(self) -> bool:
        """Whether the run, which existed before, can be found on the storage."""
        return os.path.isfile(
            os.path.join(self._plan.trainer.run_dir, log_file.RUN_MARK)
        )

    def _wait_for_storage(self) -> bool:
        """Waits until the storage is back; returns False if it does not come back.

        A worker that starts without it would report a wrong directory.
        """
        end = self._clock() + self._plan.storage_secs
        path, next_words = self._plan.trainer.run_dir, self._clock()
        while not self._is_reachable() and self._signals.received is None:
            now = self._clock()
            if now >= end:
                self._console.announce(f"gave up: {path} cannot be reached")
                return False
            if now >= next_words:
                next_words = now + _WAITING_LINE_SECS
                self._console.announce(
                    f"waiting up to {end - now:.0f} s for {path}, "
                    "which cannot be reached"
                )
            time.sleep(0.1)
        return self._signals.received is None

    def _exit_code(self, decision: Decision) -> int:
        """Returns the exit code of the job; after a signal, that of the signal."""
        received = self._signals.received
        if received is None or decision.code in (0, EXIT_FAILED, EXIT_WRONG_USAGE):
            return decision.code
        return 128 + received
