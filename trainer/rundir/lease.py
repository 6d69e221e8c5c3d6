"""Lease: lets only one process at a time write to a run directory.

Synopsis::

    held = lease.acquire(run.path, say=print)  # InvalidInput while another holds it
    held.confirm()  # before every rename: PeerLost if another process took over
    held.release()

``owner.json`` names the holder and has a counter that the holder increments every few
seconds. To take over from attempt n, a process creates ``.owner.json.<n+1>`` with
O_EXCL, checks that attempt n is still the last, and renames its file to ``owner.json``.
The counter is written through the descriptor of the renamed file: a holder that was
suspended and replaced cannot overwrite its successor. File locks are not used, because
they do not work on every shared file system.
"""

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable

from trainer import files, system
from trainer.errors import InvalidInput, PeerLost

FILE = "owner.json"
RENEW_SECS = 5.0
EXPIRY_SECS = 60.0  # a holder on another machine is replaced this long after a renewal
POLL_SECS = 0.5
_WIDTH = 1024  # fixed size of the file: a renewal overwrites all of it in one call


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """The process that holds, or held, a run directory.

    Attributes:
        host: name of the machine.
        boot_id, pid_namespace: the machine and container in which `pid` is valid.
        pid: process id.
        process_start: clock tick since boot at which the process started.
        attempt: number of processes that have held the directory, including this one.
        counter: incremented by every renewal.
        since: when the process acquired the lease, UTC.
        held: False after the lease was released.
        inode, place: inode of the directory and hash of its path; 0 and "" in records
            of older versions.
    """

    host: str
    boot_id: str
    pid_namespace: int
    pid: int
    process_start: int
    attempt: int
    counter: int
    since: str
    held: bool
    inode: int = 0
    place: str = ""

    @classmethod
    def for_this_process(cls, attempt: int, directory: pathlib.Path) -> "LeaseRecord":
        """Creates the record of this process as the holder of `directory`."""
        inode, place = _identity(directory)
        return cls(
            host=socket.gethostname(),
            boot_id=system.boot_id(),
            pid_namespace=system.pid_namespace(),
            pid=os.getpid(),
            process_start=system.process_start(os.getpid()) or 0,
            attempt=attempt,
            counter=0,
            since=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
            held=True,
            inode=inode,
            place=place,
        )

    def is_dead(self) -> bool | None:
        """Whether the process has ended; None if it runs on another machine."""
        place = (self.boot_id, self.pid_namespace)
        if not self.boot_id or place != (system.boot_id(), system.pid_namespace()):
            return None
        return system.process_start(self.pid) != self.process_start

    def holds_original_of(self, directory: pathlib.Path) -> bool:
        """Whether a running process holds the directory that `directory` is a copy of.

        Inode and path must both differ: a directory that was moved keeps its inode, and
        on some file systems inodes change. It is always False for another machine.
        """
        inode, place = _identity(directory)
        known = self.inode != 0 and self.is_dead() is False
        return known and self.inode != inode and self.place != place

    def is_same_attempt(self, other: "LeaseRecord") -> bool:
        """Whether both records are of the same attempt of the same process."""
        moving = {"counter": 0, "held": True}
        return dataclasses.replace(self, **moving) == dataclasses.replace(
            other, **moving
        )

    def to_bytes(self) -> bytes:
        """Encodes the content of owner.json."""
        text = json.dumps({"version": 1, **dataclasses.asdict(self)}, indent=2)
        return text.encode().ljust(_WIDTH - 1) + b"\n"


class Lease:
    """The lease of this process on a run directory, renewed by a thread."""

    def __init__(
        self,
        path: pathlib.Path,
        descriptor: int,
        holder: LeaseRecord,
        *,
        renew_secs: float,
    ) -> None:
        self._path, self._descriptor, self._holder = path, descriptor, holder
        self._lock, self._ended = threading.Lock(), threading.Event()
        threading.Thread(target=self._keep, args=[renew_secs], daemon=True).start()

    @property
    def attempt(self) -> int:
        """Number of processes that have held the directory, including this one."""
        return self._holder.attempt

    def renew(self) -> None:
        """Increments the counter, which shows others that this process is running."""
        self._write(counter=self._holder.counter + 1)

    def confirm(self) -> None:
        """Checks that this process still holds the lease.

        Raises:
            PeerLost: another process has taken over.
            OSError: owner.json cannot be read, for example because the directory is
                gone.
        """
        with self._lock:
            found = read_record(self._path)
        if found is None or found.pid == 0:
            raise OSError(errno.ENOENT, "the lease cannot be read", str(self._path))
        if not found.is_same_attempt(self._holder):
            raise PeerLost(
                f"{self._path.parent} was taken over by process {found.pid} on "
                f"{found.host} at {found.since};\nthis process, attempt "
                f"{self.attempt}, was suspended too long and stops writing"
            )

    def release(self) -> None:
        """Releases the lease, so that the next process need not wait."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._write(held=False)

    def _write(self, **change: int | bool) -> None:
        with self._lock:
            self._holder = dataclasses.replace(self._holder, **change)
            os.pwrite(self._descriptor, self._holder.to_bytes(), 0)
            os.fsync(self._descriptor)

    def _keep(self, renew_secs: float) -> None:
        while not self._ended.wait(renew_secs):
            with contextlib.suppress(OSError):
                self.renew()


def acquire(
    directory: pathlib.Path,
    *,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    renew_secs: float = RENEW_SECS,
) -> Lease:
    """Acquires the lease on `directory`, which is created if it does not exist.

    A holder on this machine that has ended is replaced at once; one on another machine
    is replaced when it has not renewed its lease for EXPIRY_SECS.

    Args:
        directory: the run directory.
        say: receives a message when this process has to wait.
        now, sleep: the clock, in monotonic seconds.
        renew_secs: seconds between renewals.

    Raises:
        InvalidInput: another process holds it; the message names host, pid and time.
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wait = _Wait(directory, say, now, sleep)
    while True:
        before = wait.until_free(directory / FILE)
        if (lease := _claim(directory, before, wait, renew_secs)) is not None:
            return lease


@dataclasses.dataclass(frozen=True)
class _Wait:
    """Waits until no other process holds a directory."""

    directory: pathlib.Path
    say: Callable[[str], None]
    now: Callable[[], float]
    sleep: Callable[[float], None]

    def until_free(self, path: pathlib.Path) -> LeaseRecord | None:
        """Waits until the holder in `path` is gone; returns it, None if none was."""
        first, start, looks = read_record(path), self.now(), 0
        while True:
            found = read_record(path)
            if found is None or not found.held or (dead := found.is_dead()):
                return found
            if found.holds_original_of(self.directory):
                return found
            if first is None or not found.is_same_attempt(first):
                first, start = found, self.now()  # a new holder
            if dead is False or found.counter != first.counter:
                raise InvalidInput(
                    f"{self.directory} is in use by process {found.pid} on "
                    f"{found.host} since {found.since};\nwait for its end, or name "
                    "another `run_dir`"
                )
            if self.now() - start >= EXPIRY_SECS:
                return found
            looks += 1
            if looks == 2:  # at first the file of a claim may still be empty
                self.say(
                    f"waiting up to {EXPIRY_SECS:.0f} s for a sign of process "
                    f"{found.pid} on {found.host}, owner since {found.since}"
                )
            self.sleep(POLL_SECS)


def _claim(
    directory: pathlib.Path, before: LeaseRecord | None, wait: _Wait, renew_secs: float
) -> Lease | None:
    """Takes over from `before`; None if another process was faster."""
    attempt = before.attempt if before else 0
    while True:
        attempt += 1
        claim = directory / f".{FILE}.{attempt}"
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            descriptor = os.open(claim, flags, 0o644)
            break
        except FileExistsError:
            if wait.until_free(claim) is None:  # the other became the owner, or gave up
                return None
    own = LeaseRecord.for_this_process(attempt, directory)
    try:
        os.write(descriptor, own.to_bytes())
        os.fsync(descriptor)
        if read_record(directory / FILE) != before:
            os.close(descriptor)
            return None
        os.replace(claim, directory / FILE)
    finally:
        claim.unlink(missing_ok=True)
    for left in directory.glob(f".{FILE}.[0-9]*"):  # of processes that were killed
        number = left.suffix[1:]  # not a number in a file of someone else
        if number.isdecimal() and int(number) < attempt:
            left.unlink(missing_ok=True)
    return Lease(directory / FILE, descriptor, own, renew_secs=renew_secs)


def read_record(path: pathlib.Path) -> LeaseRecord | None:
    """Reads owner.json at `path`; None if it is missing, pid 0 if it is damaged."""
    try:
        content = files.read_bytes(path, files.JSON_BYTES)
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(content)
        values = {"inode": 0, "place": ""} | fields  # older ones have neither
        values = {f.name: values[f.name] for f in dataclasses.fields(LeaseRecord)}
        for field in dataclasses.fields(LeaseRecord):
            if type(values[field.name]) is not field.type:
                raise TypeError(field.name)
        return LeaseRecord(**values)
    except (ValueError, KeyError, TypeError, RecursionError):
        return LeaseRecord(
            host="an unknown host",
            boot_id="",
            pid_namespace=0,
            pid=0,
            process_start=0,
            attempt=0,
            counter=hash(content),
            since="an unknown time",
            held=True,
        )


def _identity(directory: pathlib.Path) -> tuple[int, str]:
    place = os.fsencode(directory.resolve())
    return os.stat(directory).st_ino, hashlib.sha256(place).hexdigest()[:16]
