"""How much memory this process has taken."""

import pathlib
import re


def peak_bytes(since=None) -> int:
    """Of this process' memory, from a call with `since` None on; /proc's own mark.

    getrusage's would also have what the parent had before the program was started.
    """
    if since is None:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) - (since or 0)
