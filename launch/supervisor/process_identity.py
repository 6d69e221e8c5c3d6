"""Identity of a process, for others to see whether it ended; children end with it."""

import ctypes
import os
import pathlib
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>; the child is killed when this process dies


def die_with_parent() -> Callable[[], None]:
    """Returns the function for `preexec_fn`: the child is killed if this process is.

    Without it a child of a process that gets SIGKILL goes on.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux only
    parent = os.getpid()

    def prepare() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died before prctl
                os._exit(128 + signal.SIGKILL)

    return prepare


def describe_process() -> dict[str, Any]:
    """Describes this process: host, boot and PID namespace, pid, start."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": _identify_machine(),
        "pid": pid,
        "process_start": find_start(pid),
    }


def is_dead(process: Mapping[str, Any]) -> bool | None:
    """Whether a described process has ended; None if it is on another machine."""
    machine = _identify_machine()
    if not machine or process.get("machine") != machine:
        return None
    return find_start(process["pid"]) != process["process_start"]


def is_owner_alive(owner: Mapping[str, Any]) -> bool:
    """Whether the process that owner.json of a run names runs on this machine."""
    machine = f"{owner.get('boot_id')} {owner.get('pid_namespace')}"
    pid, start = owner.get("pid"), owner.get("process_start")
    if machine != _identify_machine() or type(pid) is not int or start is None:
        return False
    return find_start(pid) == start


def _identify_machine() -> str:
    """Names the boot and the PID namespace in which process ids are valid; "": none."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def find_start(pid: int) -> int | None:
    """Reads the clock tick at which a process started; None if it has ended.

    See proc_pid_stat(5): state and starttime are fields 3 and 22.
    """
    try:
        fields = (
            pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
