"""Process: where a process number has its meaning, and since when it is taken."""

import os
import pathlib


def boot_id() -> str:
    """Empty where the system does not tell."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> int:
    """Containers of one machine share its boot id, but not their process numbers."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def start(pid: int) -> int | None:
    """Ticks since boot at which process `pid` started; None if it does not run."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may hold anything
    return None if fields[0] in "ZX" else int(fields[19])
