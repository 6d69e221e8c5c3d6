"""Reads processors, memory and limits of this process, and identifies processes.

This is the only module that reads cgroups (v2 `cpu.max` and `memory.max`, v1
`cpu.cfs_quota_us` and `memory.limit_in_bytes`), affinity and `ulimit`. A process is
limited by its own group and by every parent group: the lowest limit counts.
"""

import contextlib
import ctypes
import errno
import math
import os
import pathlib
import resource
from collections.abc import Iterator

ROOT = pathlib.Path("/sys/fs/cgroup")
OWN = pathlib.Path("/proc/self/cgroup")
UNLIMITED = 2**60  # bytes; without a limit cgroup v1 has a number near 2 ** 63
GIB = 2**30
_NAME_BYTES = 256  # of the name of a GPU


def threads() -> int:
    """The default number of threads: cores of this process, or its quota if lower."""
    return choose_threads(cores(), cpu_quota())


def choose_threads(cores: int, quota: float) -> int:
    """Rounds `quota` up to at least 1 and at most `cores` threads.

    A process with a quota of half a core is paused for a part of every tenth of a
    second: with two threads it trained 322 images/s, with one 448.

    >>> [choose_threads(8, quota) for quota in (0.5, 1.0, 1.5, 12.0, math.inf)]
    [1, 1, 2, 8, 8]
    """
    return max(1, min(cores, math.ceil(quota))) if quota < cores else max(1, cores)


def cores() -> int:
    """Counts the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def cpu_quota(root: pathlib.Path = ROOT, own: pathlib.Path = OWN) -> float:
    """Reads the CPU quota in processors from cgroups; inf if there is none."""
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
    """Reads the limit of memory in bytes from cgroups; inf if there is none."""
    found = [math.inf]
    for folder in _folders("memory", root, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for text in _texts(folder / name):
                if text.isdecimal() and int(text) < UNLIMITED:  # else "max"
                    found.append(int(text))
    return min(found)


def address_limit() -> float:
    """Reads the limit of address space (`ulimit -v`) in bytes; inf if there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def describe_memory_limits() -> str:
    """Describes the limits of memory; empty if there are none."""
    limits = {"ulimit -v": address_limit(), "the container": memory_limit()}
    return " and ".join(
        f"{size / GIB:.2f} GiB by {who}"
        for who, size in limits.items()
        if size < math.inf
    )


def _folders(
    controller: str, root: pathlib.Path, own: pathlib.Path
) -> Iterator[pathlib.Path]:
    """Yields the cgroup folders (v2 and v1) of this process and of all parent groups.

    In a container the path may be that of the host, which does not exist there: then
    only the root folder exists.
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
    """Yields the text of a file if it can be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        yield path.read_text().strip()


# Limits of address space (`ulimit -v`): with 2.4 GiB TensorFlow 2.21 always ended with
# std::bad_alloc before Python could report it, with 3.3 sometimes, with 4.8 never.
LEAST_ADDRESSES, ENOUGH_ADDRESSES = 2.5 * GIB, 4.75 * GIB
SIGNS = ("failed to map segment", "annot allocate memory", "bad_alloc", "OOM when")


def free_bytes() -> int:
    """Returns the free memory, or the limit of this process if that is lower."""
    import psutil

    limits = (memory_limit(), address_limit())
    return int(min(psutil.virtual_memory().available, *limits))


def gpu_bytes() -> int | None:
    """Returns the whole memory of the smallest visible NVIDIA GPU; None: unknown."""
    return min((size for _, size in visible_gpus()), default=None)


def visible_gpus() -> list[tuple[str, int]]:
    """Lists name and bytes of memory of the visible NVIDIA GPUs; [] if unknown.

    The driver is asked: TensorFlow tells only what memory it has taken itself, and sees
    no GPU without its CUDA libraries. CUDA_VISIBLE_DEVICES hides them from both.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count, found = ctypes.c_int(), []
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        for number in range(count.value):
            device, size = ctypes.c_int(), ctypes.c_size_t()
            name = ctypes.create_string_buffer(_NAME_BYTES)
            if (
                driver.cuDeviceGet(ctypes.byref(device), number)
                or driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
                or driver.cuDeviceGetName(name, _NAME_BYTES, device)
            ):
                return []
            found.append((name.value.decode(errors="replace"), size.value))
    except (OSError, AttributeError):
        return []
    return found


def describe_address_limit(limit: float) -> str | None:
    """Explains why `limit` bytes of address space may not suffice; None if they do."""
    if limit >= ENOUGH_ADDRESSES:
        return None
    return (
        f"TensorFlow needs {ENOUGH_ADDRESSES / GIB:.1f} GiB of address space or more, "
        f"ulimit -v allows {limit / GIB:.2f}; raise it (ulimit -v unlimited)"
    )


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error` or one of its causes means that memory ran out."""
    seen = set()
    while error is not None and id(error) not in seen:  # a chain may be circular
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
    """Describes the error, the limit and the remedy in one line."""
    text = " ".join(str(error).split())[:150] or type(error).__name__
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    allowed = describe_memory_limits() or f"{whole:.1f} GiB, all of the machine"
    return f"out of memory ({text}); allowed: {allowed}: allow more, or {remedy}"


def boot_id() -> str:
    """Returns the id of the current boot of the machine; empty if there is none."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> int:
    """Returns the id of the PID namespace; each container has its own."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def process_start(pid: int) -> int | None:
    """Returns the clock tick since boot at which `pid` started; None if it ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may contain any character
    return None if fields[0] in "ZX" else int(fields[19])
