"""Runs a study: gives trials to workers, keeps them alive, writes the table.

Any number of these processes may work on one study, also one after the other: what is
done stands in the storage and in the run directories, and `trial_plan` says what
follows from it. A process that is killed takes its trials with it (PR_SET_PDEATHSIG).
"""

import dataclasses
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from launch import flag_checks
from launch.study import study_storage, study_table, trial_plan
from launch.study.search_space import Values
from launch.study.study_definition import StudyDefinition
from launch.study.study_storage import StudyStorage, TrialLease
from launch.study.suggestions import Suggestions
from launch.study.trial_plan import TrialPlan, TrialTask
from launch.study.trial_records import TrialRecord, TrialState
from launch.study.trial_run import TrialPlace, TrialPrograms, TrialRun
from launch.supervisor.console import Console
from launch.supervisor.process_identity import die_with_parent
from launch.supervisor.signal_queue import SignalQueue
from trainer.contract import shell_code

TRIALS = "trials"
TICK_SECS = 0.1
PLAN_SECS = 2.0  # between looks at what other processes have finished
BUSY_PLAN_SECS = 30.0  # the same while all workers have a trial
_SHOWN_TRIALS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyPlace:
    """Where this process works on a study, and with what.

    `cores` and `gpus` have one list for each worker. `scratch` is a directory for
    heartbeats.
    """

    study_dir: pathlib.Path
    scratch: pathlib.Path
    cores: Sequence[Sequence[int]]
    gpus: Sequence[Sequence[str]]
    hang_secs: float = 300.0
    max_restarts: int = 3
    first_backoff_secs: float = 1.0
    programs: TrialPrograms = TrialPrograms()

    def trial_place(
        self,
        run_dir: pathlib.Path,
        cores: Sequence[int],
        gpus: Sequence[str],
    ) -> TrialPlace:
        """Builds the place of one trial, with the limits and programs of all."""
        return TrialPlace(
            run_dir=run_dir,
            scratch=self.scratch,
            cores=cores,
            gpus=gpus,
            hang_secs=self.hang_secs,
            max_restarts=self.max_restarts,
            first_backoff_secs=self.first_backoff_secs,
            programs=self.programs,
        )


@dataclasses.dataclass
class _Worker:
    """One place for a trial, with the trial that is running there."""

    index: int
    lease: TrialLease
    run: TrialRun


class StudyRun:
    """Works on a study until nothing is left to do; `run` returns an exit code."""

    def __init__(
        self,
        definition: StudyDefinition,
        storage: StudyStorage,
        place: StudyPlace,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._definition, self._storage, self._place = definition, storage, place
        self._clock = clock
        self._console = Console(clock, name="launch.sweep")
        self._signals = SignalQueue()
        self._suggestions = Suggestions(definition)
        self._workers: list[_Worker] = []
        self._records: dict[int, TrialRecord] = {}
        self._next_plan = self._next_renewal = clock()
        self._started = clock()
        self._done_work = 0.0
        self._is_over = False

    def run(self) -> int:
        """Works on the study; after a signal trials save, and the code is 128 + n."""
        with self._signals:
            try:
                self._plan()
                while not self._is_over or self._workers:
                    self._forward_signals()
                    if self._signals.received is not None and not self._workers:
                        return 128 + self._signals.received
                    self._poll_workers()
                    self._renew_leases()
                    if self._clock() >= self._next_plan:
                        self._plan()
                    self._console.show_table(self._describe_progress)
                    time.sleep(TICK_SECS)
            finally:
                for worker in self._workers:
                    worker.run.kill()
                self._console.close()
        return 0

    def _forward_signals(self) -> None:
        for number in self._signals.drain():
            name = signal.Signals(number).name
            self._console.announce(f"{name}: passed on to all trials")
            for worker in self._workers:
                worker.run.stop(number)

    def _poll_workers(self) -> None:
        """Takes the records of stages that are over; frees their workers."""
        for worker in list(self._workers):
            record = worker.run.poll()
            stopped = worker.run.is_stopped and not worker.run.has_process
            if record is None and not stopped:
                continue
            self._workers.remove(worker)
            if record is not None and self._storage.holds(worker.lease):
                self._storage.write(record)
                self._done_work += _work_of(worker.run.task, self._definition)
                self._announce_end(record)
            self._storage.release(worker.lease)
            self._next_plan = self._clock()

    def _renew_leases(self) -> None:
        if self._clock() < self._next_renewal:
            return
        self._next_renewal = self._clock() + study_storage.RENEW_SECS
        for worker in list(self._workers):
            if self._storage.holds(worker.lease):
                self._storage.renew(worker.lease)
                continue
            number = worker.run.record.number
            self._console.announce(f"trial {number} was taken over by another process")
            worker.run.kill()
            self._workers.remove(worker)

    def _plan(self) -> None:
        """Starts what can be started, after what is pruned by it was recorded."""
        self._next_plan = self._clock() + PLAN_SECS
        while True:
            self._read_records()
            plan = trial_plan.plan_next(self._definition, self._records)
            if not plan.pruned:
                break
            for number, reason in plan.pruned.items():
                pruned = dataclasses.replace(
                    self._records[number], state=TrialState.PRUNED, reason=reason
                )
                self._storage.write(pruned)
                self._announce_end(pruned)
        self._is_over = plan.is_over
        if self._signals.received is None:
            self._start_tasks(plan)
        if len(self._workers) == len(self._place.cores):
            self._next_plan = self._clock() + BUSY_PLAN_SECS

    def _read_records(self) -> None:
        records = self._storage.records()
        if records != self._records:
            self._records = records
            study_table.write_table(
                self._place.study_dir, self._definition, self._records
            )

    def _start_tasks(self, plan: TrialPlan) -> None:
        own = {worker.run.record.number for worker in self._workers}
        for task in plan.tasks:
            used = {worker.index for worker in self._workers}
            free = [i for i in range(len(self._place.cores)) if i not in used]
            if not free:
                return
            if task.number in own:
                continue
            lease = self._storage.claim(task.number)
            if lease is not None and not self._start(task, lease, free[0]):
                self._storage.release(lease)

    def _start(self, task: TrialTask, lease: TrialLease, index: int) -> bool:
        """Starts a task whose lease this process has; False if it is done already."""
        number = task.number
        record = self._storage.records().get(number)
        if record is not None and (record.is_final or record.stages > task.stage):
            return False
        run_dir = self._place.study_dir / TRIALS / str(number)
        if record is None:
            values = self._suggest(number)
            record = TrialRecord(
                number=number,
                configuration=number // self._definition.seeds,
                seed=self._definition.seed(number),
                flags=values,
            )
        record = dataclasses.replace(record, run_dir=str(run_dir))
        self._storage.write(record)
        self._workers.append(_Worker(index, lease, self._open_run(task, record, index)))
        verb = "goes on" if record.curve or run_dir.exists() else "starts"
        self._console.announce(
            f"trial {number} {verb}: {study_table.format_flags(record.flags)} "
            f"seed={record.seed}"
        )
        return True

    def _suggest(self, number: int) -> Values:
        configuration = number // self._definition.seeds
        return self._suggestions.suggest(configuration, self._records)

    def _open_run(self, task: TrialTask, record: TrialRecord, index: int) -> TrialRun:
        place = self._place
        return TrialRun(
            task,
            record,
            self._definition,
            place.trial_place(
                pathlib.Path(record.run_dir),
                place.cores[index],
                place.gpus[index],
            ),
            clock=self._clock,
            say=self._console.announce,
        )

    def _announce_end(self, record: TrialRecord) -> None:
        if record.state is TrialState.FAILED:
            text = f"failed: {record.reason}"
        else:
            shown = "" if record.accuracy is None else f"{record.accuracy:.2%}"
            reason = "" if record.reason is None else f" ({record.reason})"
            words = {TrialState.RUNNING: f"stage {record.stages} done"}
            state = words.get(record.state, record.state.value)
            text = f"{state}: validation accuracy {shown}{reason}"
        self._console.announce(f"trial {record.number} {text}")

    def _describe_progress(self) -> list[str]:
        shown = [_format_running(w.run) for w in self._workers[:_SHOWN_TRIALS]]
        return [self._format_summary(), *shown]

    def _format_summary(self) -> str:
        counts = dict.fromkeys(TrialState, 0)
        for record in self._records.values():
            counts[record.state] += 1
        done = ", ".join(
            f"{counts[state]} {state.value}"
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)
            if counts[state] or state is TrialState.COMPLETE
        )
        ranked = trial_plan.rank_configurations(self._definition, self._records)
        best = ""
        if ranked:
            number = self._definition.trial_numbers(ranked[0])[0]
            best = f", best {self._records[number].accuracy:.2%} (trial {number})"
        running = ", ".join(str(w.run.record.number) for w in self._workers)
        return (
            f"{done} of {self._definition.trials} trials{best}; running "
            f"{running or 'none here'}; ETA {self._estimate()}"
        )

    def _estimate(self) -> str:
        """Estimates the rest from the work that this process has done."""
        if not self._done_work:
            return "-"
        total = _total_work(self._definition)
        left = max(0.0, total - _finished_work(self._definition, self._records))
        rate = (self._clock() - self._started) / self._done_work
        return _format_secs(left * rate)


def _work_of(task: TrialTask, definition: StudyDefinition) -> float:
    """Fraction of a whole training that a stage adds."""
    stages = (0.0, *definition.stages)
    return stages[task.stage + 1] - stages[task.stage]


def _total_work(definition: StudyDefinition) -> float:
    stages = (0.0, *definition.stages)
    return definition.seeds * sum(
        definition.kept(i) * (stages[i + 1] - stages[i])
        for i in range(len(definition.stages))
    )


def _finished_work(
    definition: StudyDefinition, records: dict[int, TrialRecord]
) -> float:
    stages = (0.0, *definition.stages)
    whole = len(definition.stages) == 1
    return sum(
        1.0 if whole and record.is_final else stages[record.stages]
        for record in records.values()
    )


def _format_secs(secs: float) -> str:
    minutes, rest = divmod(round(secs), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _format_running(run: TrialRun) -> str:
    point = run.curve[-1] if run.curve else None
    shown = "no validation yet"
    if point is not None:
        best = max(p.accuracy for p in run.curve)
        low, high = study_table.wilson_interval(best, run.images or 1)
        shown = (
            f"epoch {point.epoch:.4g}, best validation accuracy {best:.2%} "
            f"({low:.2%} to {high:.2%})"
        )
    return (
        f"  trial {run.record.number} {study_table.format_flags(run.record.flags)} "
        f"seed={run.record.seed}: {run.progress}, {shown}"
    )


def write_page(study_dir: pathlib.Path, programs: TrialPrograms) -> int:
    """Has eval make the page of the study; returns its exit code."""
    command = [*programs.study, str(study_dir)]
    done = subprocess.run(command, check=False, preexec_fn=die_with_parent())
    return shell_code(done.returncode)


def check_trial(
    definition: StudyDefinition, programs: TrialPrograms, say: Callable[[str], None]
) -> int:
    """Prepares the data and tries a step of the first trial; returns the exit code."""
    code = flag_checks.prepare_data(definition.trainer_flags, programs.prepare, say)
    if code:
        return code
    words = definition.trial_arguments(0, Suggestions(definition).suggest(0, {}))
    return flag_checks.try_step(words, programs.train, say)
