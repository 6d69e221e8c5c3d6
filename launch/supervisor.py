"""Keeps one job alive: starts its workers, and again from the last checkpoint."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from launch import logs, ports, scratch, training, verdict
from launch.console import Console
from launch.group import SETTLE_SECS, Group
from launch.heartbeat import Heartbeat
from launch.logs import Log
from launch.signals import Signals
from launch.training import Training
from launch.verdict import Verdict
from launch.workers import Worker
from trainer.contract import (
    FAILED,
    HEARTBEAT_VARIABLE,
    LOST,
    WRONG_USAGE,
    Cluster,
    passing,
)

USAGE_LINES = 2  # as many as the trainer needs to explain wrong usage
STORAGE_SECS = 600.0  # until a storage that is away is given up
_FIRST_BACKOFF_SECS, _LONGEST_BACKOFF_SECS = 1.0, 60.0
_WAITING_LINE_SECS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start and how patient to be with it.

    `cores` and `gpus` hold one list a worker; `train` and `prepare` are commands
    without the trainer's flags, so that tests can start something smaller.
    """

    training: Training
    cores: Sequence[Sequence[int]]
    gpus: Sequence[Sequence[str]]
    max_restarts: int = 3
    hang_secs: float = 300.0
    settle_secs: float = SETTLE_SECS
    first_backoff_secs: float = _FIRST_BACKOFF_SECS
    storage_secs: float = STORAGE_SECS
    writes: bool = True  # logs, once the trainer made the run
    train: tuple[str, ...] = (sys.executable, "-m", training.MODULE)
    prepare: tuple[str, ...] | None = (sys.executable, "-m", training.PREPARE_MODULE)


class Supervisor:
    """Runs a Plan to its end; `run` returns the job's exit code."""

    def __init__(
        self, plan: Plan, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._console = Console(clock)
        self._signals = Signals()

    def run(self) -> int:
        """Prepares the data set, then starts groups until one may not be restarted."""
        with self._signals, scratch.directory() as self._scratch:
            try:
                prepare = self._plan.prepare
                code = self._prepare(prepare) if prepare else 0
                return code or self._train()
            finally:
                self._console.close()

    def _prepare(self, command: Sequence[str]) -> int:
        arguments = self._plan.training.prepare_arguments
        cores = sorted({core for share in self._plan.cores for core in share})
        worker = self._start(
            [*command, *arguments],
            name="prepare",
            index=0,
            restarts=0,
            cores=cores,
            variables={},
        )
        end = self._attempt([worker], None, "")
        if end.code:
            self._explain(end, [worker], "prepare")
        return self._exit_code(end)

    def _train(self) -> int:
        restarts = 0
        while True:
            shown = f"{restarts}/{self._plan.max_restarts}"
            workers = self._start_workers(restarts)
            end = self._attempt(workers, self._plan.hang_secs, shown)
            begun = any(worker.log.begun for worker in workers)
            if begun and end.code == WRONG_USAGE and not self._within_reach():
                end = dataclasses.replace(end, code=LOST, restart=True)
            if end.code:
                self._explain(end, workers, "worker")
            if not end.restart or self._signals.received is not None:
                return self._exit_code(end)
            if restarts == self._plan.max_restarts:
                self._console.say(f"gave up after {restarts} restarts")
                return end.code
            if not self._back_off(restarts) or (begun and not self._reach_run()):
                return self._exit_code(end)
            restarts += 1

    def _attempt(
        self, workers: list[Worker], hang_secs: float | None, restarts: str
    ) -> Verdict:
        group = Group(
            workers,
            console=self._console,
            signals=self._signals,
            grace_secs=self._plan.training.grace_secs,
            hang_secs=hang_secs,
            settle_secs=self._plan.settle_secs,
            clock=self._clock,
        )
        return verdict.judge(group.run(restarts=restarts))

    def _start_workers(self, restarts: int) -> list[Worker]:
        count = len(self._plan.cores)
        addresses = tuple(f"127.0.0.1:{port}" for port in ports.free(count))
        arguments = self._plan.training.arguments_after(restarts)
        workers: list[Worker] = []
        try:
            for index in range(count):
                cluster = Cluster(workers=addresses, index=index)
                workers.append(
                    self._start(
                        [*self._plan.train, *arguments],
                        name=f"worker-{index}",
                        index=index,
                        restarts=restarts,
                        cores=self._plan.cores[index],
                        variables={
                            "TF_CONFIG": cluster.to_json(),
                            "CUDA_VISIBLE_DEVICES": ",".join(self._plan.gpus[index]),
                        },
                    )
                )
        except BaseException:
            for worker in workers:
                worker.kill()
            raise
        return workers

    def _start(
        self,
        command: Sequence[str],
        *,
        name: str,
        index: int,
        restarts: int,
        cores: Sequence[int],
        variables: Mapping[str, str],
    ) -> Worker:
        """One process; `variables` come on top of this one's environment."""
        beat = self._scratch / f"{name}-{restarts}.json"
        run_dir = self._plan.training.run_dir
        return Worker(
            command,
            index=index,
            environment={
                **os.environ,
                **variables,
                HEARTBEAT_VARIABLE: str(beat),
                "PYTHONFAULTHANDLER": "1",  # SIGABRT shows where a stuck worker is
                "PYTHONUNBUFFERED": "1",
            },
            cores=cores,
            heartbeat=Heartbeat(beat, self._clock()),
            log=Log(run_dir if self._plan.writes else None, name, restarts + 1),
            show=lambda text: self._show(name, text, chief=index == 0),
        )

    def _show(self, name: str, text: str, *, chief: bool) -> None:
        """A worker's line; how far it is, its log has: the chief is as far."""
        if chief or not passing(text):
            self._console.line(name, text)

    def _explain(self, end: Verdict, workers: list[Worker], kind: str) -> None:
        """Names the culprit, with its last lines; wrong usage explains itself."""
        if end.culprit is None:
            self._console.say(end.reason)
            return
        culprit = workers[end.culprit]
        lines = [*culprit.last_lines]
        if end.code == WRONG_USAGE:
            for line in lines[-USAGE_LINES:]:
                self._console.repeat(line)
            return
        name = kind if kind == "prepare" else f"{kind}-{end.culprit}"
        where = f" of {culprit.log.path}" if os.path.exists(culprit.log.path) else ""
        self._console.say(f"{name} {end.reason}; the last lines{where}:")
        for line in lines:
            self._console.repeat(f"  {line}")

    def _back_off(self, restarts: int) -> bool:
        """Waits longer each time; False if a signal came meanwhile."""
        secs = min(self._plan.first_backoff_secs * 2**restarts, _LONGEST_BACKOFF_SECS)
        self._console.say(
            f"restart {restarts + 1} of {self._plan.max_restarts} in {secs:g} s, "
            "from the last checkpoint"
        )
        end = self._clock() + secs
        while (now := self._clock()) < end and self._signals.received is None:
            self._console.remind(f"restart {restarts + 1} in {end - now:.0f} s")
            time.sleep(min(0.1, secs))
        return self._signals.received is None

    def _within_reach(self) -> bool:
        """Whether the storage shows the run, which was there before."""
        return os.path.isfile(os.path.join(self._plan.training.run_dir, logs.RUN_MARK))

    def _reach_run(self) -> bool:
        """Waits for a storage that is away; False when it does not come back.

        A worker that starts meanwhile would take its directory for a wrong one.
        """
        end = self._clock() + self._plan.storage_secs
        path, next_words = self._plan.training.run_dir, self._clock()
        while not self._within_reach() and self._signals.received is None:
            now = self._clock()
            if now >= end:
                self._console.say(f"gave up: {path} is away")
                return False
            if now >= next_words:
                next_words = now + _WAITING_LINE_SECS
                self._console.say(
                    f"waiting up to {end - now:.0f} s for {path}, "
                    "which cannot be reached"
                )
            time.sleep(0.1)
        return self._signals.received is None

    def _exit_code(self, end: Verdict) -> int:
        """The job's: after a signal to the launcher at least that signal's."""
        received = self._signals.received
        if received is None or end.code in (0, FAILED, WRONG_USAGE):
            return end.code
        return 128 + received
