"""Memory that is free for this process, and what is said where it does not do."""

import errno
import math
import os

from trainer import container

GIB = container.GIB
# Of address space, which `ulimit -v` limits: with 2.4 GiB TensorFlow 2.21 ended with
# std::bad_alloc, which nobody can explain any more, with 3.3 sometimes, not with 4.8.
LEAST_ADDRESSES, ENOUGH_ADDRESSES = 2.5 * GIB, 4.75 * GIB
SIGNS = ("failed to map segment", "annot allocate memory", "bad_alloc", "OOM when")


def free_bytes() -> int:
    """What the machine has left, or what this process may have if that is less."""
    import psutil

    limits = (container.memory_limit(), container.address_limit())
    return int(min(psutil.virtual_memory().available, *limits))


def addresses(limit: float) -> str | None:
    """What is wrong with `limit` bytes of address space; None where they do."""
    if limit >= ENOUGH_ADDRESSES:
        return None
    return (
        f"TensorFlow needs {ENOUGH_ADDRESSES / GIB:.1f} GiB of addresses or more, "
        f"ulimit -v allows {limit / GIB:.2f}; raise it (ulimit -v unlimited)"
    )


def lacking(error: BaseException | None) -> bool:
    """Whether `error`, or what it came from, says that there was no memory."""
    seen = set()
    while error is not None and id(error) not in seen:  # an error may come from itself
        seen.add(id(error))
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and not isinstance(error, ImportError):
            limited = container.address_limit() < math.inf  # else it may pass
            return limited and error.errno == errno.ENOMEM
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            return True
        if any(sign in str(error) for sign in SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def explanation(error: BaseException, remedy: str = "ask for less") -> str:
    """What was lacking, what is allowed, and what can be done, in one line."""
    said = " ".join(str(error).split())[:150] or type(error).__name__
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    allowed = container.memory_words() or f"{whole:.1f} GiB, all that the machine has"
    return f"out of memory ({said}); allowed: {allowed}: allow more, or {remedy}"
