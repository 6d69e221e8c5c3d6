"""The machine and this process: processors, memory, limits of a container, identity.

This is the only module that reads cgroups (v2 `cpu.max` and `memory.max`, v1
`cpu.cfs_quota_us` and `memory.limit_in_bytes`), affinity and `ulimit`. A process is
limited by its own group and by each group above it: the lowest limit counts.
"""

import contextlib
import errno
import math
import os
import pathlib
import resource
from collections.abc import Iterator

ROOT = pathlib.Path("/sys/fs/cgroup")
OWN = pathlib.Path("/proc/self/cgroup")
UNLIMITED = 2**60  # bytes; cgroup v1 writes a number near 2 ** 63 for none
GIB = 2**30


def threads() -> int:
    """The default number of threads: cores of this process, or its quota if less."""
    return choose_threads(cores(), cpu_quota())


def choose_threads(cores: int, quota: float) -> int:
    """`quota` processors rounded up, at most `cores`, at least one.

    A process that is allowed half a core is stopped for most of each tenth of a second:
    with two threads it then trained 322 images/s, with one 448.

    >>> [choose_threads(8, quota) for quota in (0.5, 1.0, 1.5, 12.0, math.inf)]
    [1, 1, 2, 8, 8]
    """
    return max(1, min(cores, math.ceil(quota))) if quota < cores else max(1, cores)


def cores() -> int:
    """The number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def cpu_quota(root: pathlib.Path = ROOT, own: pathlib.Path = OWN) -> float:
    """The limit of processor time in processors, from cgroups; inf without one."""
    found = [math.inf]
    for folder in _folders("cpu", root, own):
        for text in _texts(folder / "cpu.max"):
            quota, period = text.split()
            if quota != "max":
                found.append(int(quota) / int(period))
        for text in _texts(folder / "cpu.cfs_quota_us"):
            for period in _texts(folder / "cpu.cfs_period_us"):
                if int(text) > 0:  # -1: none
                    found.append(int(text) / int(period))
    return min(found)


def memory_limit(root: pathlib.Path = ROOT, own: pathlib.Path = OWN) -> float:
    """The limit of memory in bytes, from cgroups; inf without one."""
    found = [math.inf]
    for folder in _folders("memory", root, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for text in _texts(folder / name):
                if text.isdecimal() and int(text) < UNLIMITED:  # else "max"
                    found.append(int(text))
    return min(found)


def address_limit() -> float:
    """The limit of address space in bytes, from `ulimit -v`; inf without one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def describe_memory_limits() -> str:
    """The limits of memory in words; empty without one."""
    limits = {"ulimit -v": address_limit(), "the container": memory_limit()}
    return " and ".join(
        f"{size / GIB:.2f} GiB by {who}"
        for who, size in limits.items()
        if size < math.inf
    )


def _folders(
    controller: str, root: pathlib.Path, own: pathlib.Path
) -> Iterator[pathlib.Path]:
    """The folders of this process's group of `controller` and of those above it.

    Of cgroups v2 and v1. In a container the path may be the host's, which does not
    exist there: then only the top does.
    """
    places = {root: pathlib.PurePath("."), root / controller: pathlib.PurePath(".")}
    for text in _texts(own):
        for line in text.splitlines():
            with contextlib.suppress(ValueError):  # a line of another form
                _, controllers, path = line.split(":", 2)
                inside = pathlib.PurePath(path.lstrip("/"))
                if not controllers:
                    places[root] = inside
                elif controller in controllers.split(","):
                    places[root / controller] = inside
    for mount, inside in places.items():
        yield mount / inside
        yield from (mount / parent for parent in inside.parents)


def _texts(path: pathlib.Path) -> Iterator[str]:
    """Yields the file's text if it can be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        yield path.read_text().strip()


# Address space, which `ulimit -v` limits: with 2.4 GiB TensorFlow 2.21 ended with
# std::bad_alloc before Python could report it, with 3.3 sometimes, with 4.8 never.
LEAST_ADDRESSES, ENOUGH_ADDRESSES = 2.5 * GIB, 4.75 * GIB
SIGNS = ("failed to map segment", "annot allocate memory", "bad_alloc", "OOM when")


def free_bytes() -> int:
    """The memory that is free, or the limit of this process if that is less."""
    import psutil

    limits = (memory_limit(), address_limit())
    return int(min(psutil.virtual_memory().available, *limits))


def describe_address_limit(limit: float) -> str | None:
    """Why `limit` bytes of address space may not suffice; None if they do."""
    if limit >= ENOUGH_ADDRESSES:
        return None
    return (
        f"TensorFlow needs {ENOUGH_ADDRESSES / GIB:.1f} GiB of addresses or more, "
        f"ulimit -v allows {limit / GIB:.2f}; raise it (ulimit -v unlimited)"
    )


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or an error in its chain of causes, means a lack of memory."""
    seen = set()
    while error is not None and id(error) not in seen:  # a chain may be a circle
        seen.add(id(error))
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and not isinstance(error, ImportError):
            limited = address_limit() < math.inf  # otherwise it may be temporary
            return limited and error.errno == errno.ENOMEM
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            return True
        if any(sign in str(error) for sign in SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def explain_out_of_memory(error: BaseException, remedy: str = "ask for less") -> str:
    """Error, limit and remedy in one line."""
    text = " ".join(str(error).split())[:150] or type(error).__name__
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    allowed = describe_memory_limits() or f"{whole:.1f} GiB, all of the machine"
    return f"out of memory ({text}); allowed: {allowed}: allow more, or {remedy}"


def boot_id() -> str:
    """The id of this boot of the machine; empty where the system has none."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> int:
    """The namespace of process numbers: containers of one machine have their own."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def process_start(pid: int) -> int | None:
    """The clock tick since boot at which process `pid` started; None if it ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may hold anything
    return None if fields[0] in "ZX" else int(fields[19])
