"""Owner: the lease on a run directory, so that one process at a time writes there.

Synopsis::

    lease = owner.take(run.path, say=print)  # refused while another process lives
    lease.confirm()  # before every rename: exit code 175 if another took over
    lease.release()

``owner.json`` says who holds the directory and has a counter that the holder advances
every few seconds. To take over attempt n, a process makes ``.owner.json.<n+1>`` with
O_EXCL, looks once more that attempt n is still the last, and renames its file over
``owner.json``. The counter is advanced through the descriptor of the file that was
renamed: a holder that was suspended and replaced cannot overwrite its successor. File
locks are not used, they are not safe on every shared file system.
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
EXPIRY_SECS = 60.0  # without a renewal until a holder that cannot be seen is given up
POLL_SECS = 0.5
_WIDTH = 1024  # bytes of the file, always: a renewal is one write over the whole of it


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """A process that holds, or held, a run directory.

    Attributes:
        boot_id, pid_namespace: where `pid` has its meaning.
        process_start: of the process, in clock ticks since boot.
        attempt: how many processes have held the directory, this one included.
        counter: advanced by every renewal.
        since: when it took the directory, UTC.
        held: False once it was given back.
        inode, place: of the directory, and the hash of its path; 0 and "" of old.
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
    def here(cls, attempt: int, directory: pathlib.Path) -> "LeaseRecord":
        """This process, in `directory`."""
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

    def dead(self) -> bool | None:
        """Whether the process has ended; None where it cannot be seen from here."""
        place = (self.boot_id, self.pid_namespace)
        if not self.boot_id or place != (system.boot_id(), system.pid_namespace()):
            return None
        return system.process_start(self.pid) != self.process_start

    def elsewhere(self, directory: pathlib.Path) -> bool:
        """Whether it holds another directory, of which `directory` is a copy.

        Both must differ: a directory that was moved keeps its inode, and on some file
        systems an inode does not last. Of a process of this machine only.
        """
        inode, place = _identity(directory)
        known = self.inode != 0 and self.dead() is False
        return known and self.inode != inode and self.place != place

    def same(self, other: "LeaseRecord") -> bool:
        """Whether both are the same attempt of the same process."""
        moving = {"counter": 0, "held": True}
        return dataclasses.replace(self, **moving) == dataclasses.replace(
            other, **moving
        )

    def bytes(self) -> bytes:
        """The content of the file."""
        text = json.dumps({"version": 1, **dataclasses.asdict(self)}, indent=2)
        return text.encode().ljust(_WIDTH - 1) + b"\n"


class Lease:
    """A run directory held by this process, renewed by a thread until released."""

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
        """How many processes have held the directory, this one included."""
        return self._holder.attempt

    def renew(self) -> None:
        """Shows others that this process lives."""
        self._write(counter=self._holder.counter + 1)

    def confirm(self) -> None:
        """Looks whether the directory is still held by this process.

        Raises:
            PeerLost: another process has taken it.
            OSError: owner.json cannot be read, as when the directory is gone.
        """
        with self._lock:
            found = read_record(self._path)
        if found is None or found.pid == 0:
            raise OSError(errno.ENOENT, "the lease cannot be read", str(self._path))
        if not found.same(self._holder):
            raise PeerLost(
                f"{self._path.parent} was taken over by process {found.pid} on "
                f"{found.host} at {found.since};\nthis process, attempt "
                f"{self.attempt}, stood still too long and writes nothing more"
            )

    def release(self) -> None:
        """Lets the next process in at once."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._write(held=False)

    def _write(self, **change) -> None:
        with self._lock:
            self._holder = dataclasses.replace(self._holder, **change)
            os.pwrite(self._descriptor, self._holder.bytes(), 0)
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
    """Makes `directory` if need be and holds it; a holder on this machine that is dead
    is followed at once, one elsewhere when it was not renewed for STILL_SECS.

    Raises:
        InvalidInput: it is in use; names host, pid and since when.
        OSError: it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wait = _Wait(directory, say, now, sleep)
    while True:
        before = wait.until_free(directory / FILE)
        if (lease := _claim(directory, before, wait, renew_secs)) is not None:
            return lease


@dataclasses.dataclass(frozen=True)
class _Wait:
    """How to find out whether a holder lives."""

    directory: pathlib.Path
    say: Callable[[str], None]
    now: Callable[[], float]
    sleep: Callable[[float], None]

    def until_free(self, path: pathlib.Path) -> LeaseRecord | None:
        """The holder in `path` once it holds no longer; None if there is none."""
        first, start, looks = read_record(path), self.now(), 0
        while True:
            found = read_record(path)
            if found is None or not found.held or (dead := found.dead()):
                return found
            if found.elsewhere(self.directory):
                return found
            if first is None or not found.same(first):
                first, start = found, self.now()  # just come
            if dead is False or found.counter != first.counter:
                raise InvalidInput(
                    f"{self.directory} is in use by process {found.pid} on "
                    f"{found.host} since {found.since};\nwait for its end, or name "
                    "another `run_dir`"
                )
            if self.now() - start >= EXPIRY_SECS:
                return found
            looks += 1
            if looks == 2:  # at the first look a claim may not be written yet
                self.say(
                    f"waiting up to {EXPIRY_SECS:.0f} s for a sign of process "
                    f"{found.pid} on {found.host}, owner since {found.since}"
                )
            self.sleep(POLL_SECS)


def _claim(
    directory: pathlib.Path, before: LeaseRecord | None, wait: _Wait, renew_secs: float
) -> Lease | None:
    """The lease that follows `before`; None if another process was faster."""
    attempt = before.attempt if before else 0
    while True:
        attempt += 1
        claim = directory / f".{FILE}.{attempt}"
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            descriptor = os.open(claim, flags, 0o644)
            break
        except FileExistsError:
            if wait.until_free(claim) is None:  # it became the owner, or gave up
                return None
    own = LeaseRecord.here(attempt, directory)
    try:
        os.write(descriptor, own.bytes())
        os.fsync(descriptor)
        if read_record(directory / FILE) != before:
            os.close(descriptor)
            return None
        os.replace(claim, directory / FILE)
    finally:
        claim.unlink(missing_ok=True)
    for left in directory.glob(f".{FILE}.[0-9]*"):  # of processes that died in between
        number = left.suffix[1:]  # or anything, of a file that is not ours
        if number.isdecimal() and int(number) < attempt:
            left.unlink(missing_ok=True)
    return Lease(directory / FILE, descriptor, own, renew_secs=renew_secs)


def read_record(path: pathlib.Path) -> LeaseRecord | None:
    """Who is named in `path`; None without the file, pid 0 if nobody readable is."""
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
