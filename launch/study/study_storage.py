"""Storage of a study: Optuna's, with a record for each trial and a lease while it runs.

Each trial is a trial of Optuna, so that optuna-dashboard shows the study. Who may work
on a trial is decided by a second study of leases: `create_new_trial` numbers them one
after the other in every storage of Optuna, so of two that follow the same lease the
one with the lower number holds, and the other has lost. No clock is compared with that
of another machine: a lease is stale when its counter has not changed for EXPIRY_SECS,
or at once if its process was on this machine and is dead.
"""

import contextlib
import dataclasses
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from launch.command_line import UsageError
from launch.study import study_definition
from launch.study.study_definition import StudyDefinition
from launch.study.suggestions import build_distributions
from launch.study.trial_records import DIRECTIONS, TrialRecord, TrialState
from launch.supervisor import process_identity

FILE = "study.db"
OPTUNA_VERSION = optuna.__version__
RENEW_SECS = 10.0
EXPIRY_SECS = 60.0  # a lease of another machine is stale this long after a renewal
LEASES = " (leases)"  # after the study's name
_BUSY_SECS = 60  # SQLite waits for the lock of another process
_JOURNAL = "journal://"
_OPENINGS = 6  # attempts while another process creates the tables
# What a storage raises when it is lost.
STORAGE_ERRORS = (
    OSError,
    sqlalchemy.exc.SQLAlchemyError,
    optuna.exceptions.OptunaError,
)
_STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


def own_url() -> str:
    """URL of the SQLite file in the study's directory, as study.json has it.

    SQLite survives a SIGKILL in the middle of a write: the next process rolls the
    half-written page back, and the kernel frees the locks of a dead process. Optuna's
    journal leaves its lock, for which the next process waits 30 s, and after an
    incomplete last line it can never be read again.
    """
    return f"sqlite:///{FILE}"


def resolve_url(url: str, study_dir: str) -> str:
    """Names the file of `own_url` by its whole path."""
    if url != own_url():
        return url
    return f"sqlite:///{os.path.join(os.path.abspath(study_dir), FILE)}"


def hide_password(url: str) -> str:
    """Formats a storage URL for files and messages."""
    if url.startswith(_JOURNAL):
        return url
    try:
        kind = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise UsageError(
            f"--storage={url!r:.80} is not a URL; write e.g. sqlite:////shared/a.db, "
            "postgresql://… or journal:////shared/a.log"
        ) from error
    return kind.render_as_string(hide_password=True)


def is_new_file(url: str) -> bool:
    """Whether `url` names an SQLite file that does not exist yet."""
    if url.startswith(_JOURNAL):
        return False
    found = sqlalchemy.engine.make_url(url)
    is_file = found.drivername.startswith("sqlite")
    return is_file and not os.path.exists(found.database or "")


def open_storage(url: str) -> BaseStorage:
    """Opens Optuna's storage at `url`, and creates its tables.

    `journal:///path` is a journal file, for network disks without locks.

    Raises:
      UsageError: it cannot be opened.
    """
    hide_password(url)
    for attempt in range(_OPENINGS):
        try:
            return _open(url)
        except (*STORAGE_ERRORS, ImportError, RuntimeError, ValueError) as error:
            if attempt + 1 == _OPENINGS or not _is_race(error):
                reason = " ".join(str(error).split())[:300]
                raise UsageError(
                    f"--storage: it cannot be opened ({type(error).__name__}: "
                    f"{reason}); it is a URL of SQLAlchemy, or journal:///FILE"
                ) from error
        time.sleep(0.2 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _open(url: str) -> BaseStorage:
    if url.startswith(_JOURNAL):
        backend = optuna.storages.journal.JournalFileBackend(url[len(_JOURNAL) :])
        return optuna.storages.JournalStorage(backend)
    sqlite = sqlalchemy.engine.make_url(url).drivername.startswith("sqlite")
    waits = {"timeout": _BUSY_SECS} if sqlite else {}
    return optuna.storages.RDBStorage(
        url, engine_kwargs={"connect_args": waits, "pool_pre_ping": True}
    )


def _is_race(error: Exception) -> bool:
    """Whether another process created the same tables at the same time."""
    return any(
        word in str(error)
        for word in ("already exists", "UNIQUE", "Duplicate", "duplicate")
    )


@dataclasses.dataclass(frozen=True)
class TrialLease:
    """The right of this process to work on a trial.

    Attributes:
      trial: number of the trial.
      record: id of the lease in the storage.
      token: tells it from leases of other processes.
    """

    trial: int
    record: int
    token: str


@dataclasses.dataclass
class _Sighting:
    """Counter of a lease, and when it was seen to change."""

    counter: int
    since: float


class StudyStorage:
    """Records and leases of one study in Optuna's storage."""

    def __init__(
        self,
        storage: BaseStorage,
        definition: StudyDefinition,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._definition = definition
        self._clock = clock
        self._distributions = build_distributions(definition)
        self._sightings: dict[int, _Sighting] = {}
        self._counter = 0
        self._study = _join(storage, definition)
        leases = definition.name + LEASES
        self._leases = _create_study(storage, leases, [StudyDirection.MINIMIZE])

    def records(self) -> dict[int, TrialRecord]:
        """Reads all records, by number of the trial."""
        return {number: record for number, (record, _) in self._rows().items()}

    def _rows(self) -> dict[int, tuple[TrialRecord, FrozenTrial]]:
        """Reads records and Optuna's trials; of two of one number the first counts."""
        found: dict[int, tuple[TrialRecord, FrozenTrial]] = {}
        for trial in self._storage.get_all_trials(self._study, deepcopy=False):
            text = trial.user_attrs.get("record")
            if text is not None:
                record = TrialRecord.from_json(json.loads(text))
                found.setdefault(record.number, (record, trial))
        return found

    def write(self, record: TrialRecord) -> None:
        """Writes a record, and creates the trial if it is the first one.

        A final record is not changed any more.
        """
        row = self._rows().get(record.number)
        if row is None:
            self._create(record)
            row = self._rows()[record.number]
        _, trial = row
        if trial.state.is_finished():
            return
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._update(trial._trial_id, record)

    def _update(self, trial_id: int, record: TrialRecord) -> None:
        text = json.dumps(record.to_json(), allow_nan=False)
        self._storage.set_trial_user_attr(trial_id, "record", text)
        if record.is_final:
            self._finish(trial_id, record)

    def _create(self, record: TrialRecord) -> None:
        params = {
            name: value
            for name, value in record.flags.items()
            if name in self._distributions
        }
        attributes = {
            "record": json.dumps(record.to_json(), allow_nan=False),
            "trial": record.number,
            "configuration": record.configuration,
            "seed": record.seed,
        }
        template = optuna.trial.create_trial(
            state=OptunaState.RUNNING,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs=attributes,
        )
        self._storage.create_new_trial(self._study, template)

    def _finish(self, trial_id: int, record: TrialRecord) -> None:
        for i, point in enumerate(record.curve):
            self._storage.set_trial_intermediate_value(trial_id, i, point.accuracy)
        for name, value in {"run_dir": record.run_dir, "reason": record.reason}.items():
            if value is not None:
                self._storage.set_trial_user_attr(trial_id, name, value)
        values = record.values or {}
        ordered = [values[name] for name in self._definition.objectives if values]
        self._storage.set_trial_state_values(
            trial_id, _STATES[record.state], ordered or None
        )

    def claim(self, number: int) -> TrialLease | None:
        """Tries to get the lease of a trial; None if another process has it."""
        heads = self._heads()
        head = heads.get(number)
        if head is not None and not self._is_free(head):
            return None
        token = str(uuid.uuid4())
        template = optuna.trial.create_trial(
            state=OptunaState.RUNNING,
            user_attrs={
                "trial": number,
                "after": -1 if head is None else head.number,
                "token": token,
                **process_identity.describe_process(),
            },
        )
        record = self._storage.create_new_trial(self._leases, template)
        lease = TrialLease(number, record, token)
        return lease if self.holds(lease) else None

    def holds(self, lease: TrialLease) -> bool:
        """Whether no other process has taken over the lease."""
        head = self._heads().get(lease.trial)
        return head is not None and head.user_attrs["token"] == lease.token

    def renew(self, lease: TrialLease) -> None:
        """Shows other machines that this process still works on the trial."""
        self._counter += 1
        self._storage.set_trial_user_attr(lease.record, "counter", self._counter)

    def release(self, lease: TrialLease) -> None:
        """Gives the lease back."""
        self._storage.set_trial_state_values(
            lease.record, OptunaState.COMPLETE, [float(lease.trial)]
        )

    def _heads(self) -> dict[int, FrozenTrial]:
        """Finds the lease that counts for each trial: the end of its chain."""
        heads: dict[int, FrozenTrial] = {}
        for lease in self._storage.get_all_trials(self._leases, deepcopy=False):
            attributes = lease.user_attrs
            if "after" not in attributes:
                continue
            head = heads.get(attributes["trial"])
            if attributes["after"] == (-1 if head is None else head.number):
                heads[attributes["trial"]] = lease
        return heads

    def _is_free(self, lease: FrozenTrial) -> bool:
        if lease.state.is_finished():
            return True
        if (dead := process_identity.is_dead(lease.user_attrs)) is not None:
            return dead
        counter, now = lease.user_attrs.get("counter", 0), self._clock()
        seen = self._sightings.get(lease.number)
        if seen is None or seen.counter != counter:
            self._sightings[lease.number] = _Sighting(counter, now)
            return False
        return now - seen.since >= EXPIRY_SECS


def read_definition(storage: BaseStorage, name: str) -> dict[str, Any] | None:
    """Reads the definition of a study in the storage; None if it is not there."""
    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    text = storage.get_study_user_attrs(study).get("definition")
    return None if text is None else json.loads(text)


def _join(storage: BaseStorage, definition: StudyDefinition) -> int:
    """Creates the study, or joins one with the same definition.

    Raises:
      UsageError: the study in the storage has another definition.
    """
    directions = [
        StudyDirection[DIRECTIONS[name].upper()] for name in definition.objectives
    ]
    study = _create_study(storage, definition.name, directions)
    ours = definition.to_json()
    text = storage.get_study_user_attrs(study).get("definition")
    if text is None:
        storage.set_study_user_attr(study, "definition", json.dumps(ours))
        return study
    check_same(json.loads(text), ours, f"the study {definition.name!r} in the storage")
    return study


def check_same(theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> None:
    """Raises UsageError if two descriptions of a study differ."""
    if found := study_definition.find_differences(theirs, ours):
        raise UsageError(
            f"{where} has another definition (its != yours: {'; '.join(found)[:400]}); "
            "use the same flags, or another --study_dir"
        )


def _create_study(
    storage: BaseStorage, name: str, directions: list[StudyDirection]
) -> int:
    try:
        return storage.create_new_study(directions, name)
    except optuna.exceptions.DuplicatedStudyError:
        return storage.get_study_id_from_name(name)
