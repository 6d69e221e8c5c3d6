"""Keeps one job alive: starts its workers, and again from the last checkpoint."""

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

USAGE_LINES = 2  # as many as the trainer needs to explain wrong usage
STORAGE_SECS = 600.0  # until a storage that is away is given up
_FIRST_BACKOFF_SECS, _LONGEST_BACKOFF_SECS = 1.0, 60.0
_WAITING_LINE_SECS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobPlan:
    """Plan of a job: what to start and how patient to be with it.

    `cores` and `gpus` hold one list a worker; `train` and `prepare` are commands
    without the trainer's flags, so that tests can start something smaller.
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
        """Starts a process; its variables come on top of this one's environment."""
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
        """Shows a line of a worker; progress of the chief alone, others are as far."""
        if chief or not is_progress_line(text):
            self._console.show_worker_line(name, text)

    def _explain(
        self, decision: Decision, workers: list[WorkerProcess], kind: str
    ) -> None:
        """Names the culprit, with its last lines; wrong usage explains itself."""
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
        """Waits longer each time; False if a signal came meanwhile."""
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
        """Whether the storage shows the run, which was there before."""
        return os.path.isfile(
            os.path.join(self._plan.trainer.run_dir, log_file.RUN_MARK)
        )

    def _wait_for_storage(self) -> bool:
        """Waits for a storage that is away; False when it does not come back.

        A worker that starts meanwhile would take its directory for a wrong one.
        """
        end = self._clock() + self._plan.storage_secs
        path, next_words = self._plan.trainer.run_dir, self._clock()
        while not self._is_reachable() and self._signals.received is None:
            now = self._clock()
            if now >= end:
                self._console.announce(f"gave up: {path} is away")
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
        """Returns the job's: after a signal to the launcher at least that signal's."""
        received = self._signals.received
        if received is None or decision.code in (0, EXIT_FAILED, EXIT_WRONG_USAGE):
            return decision.code
        return 128 + received
