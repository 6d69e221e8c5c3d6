"""The directory of a run on this machine, as the trainer understands its name."""

import os
import tempfile

from launch.commandline import UsageError


def absolute(text: str) -> str:
    """Where the trainer puts a run that it is told to put into `text`.

    Raises:
      UsageError: it is in the home directory of somebody who has none.
    """
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise UsageError(
            f"--run_dir={text}: the home directory of {text.partition('/')[0]} is not "
            "known; write the whole path"
        )
    return os.path.abspath(found)


def check(path: str) -> None:
    """Proves that the absolute `path` can be made, and leaves nothing behind.

    Permissions alone do not tell: root may write /proc and still make nothing there.
    A directory that exists is left to the trainer, which knows what a run is.

    Raises:
      UsageError: it cannot.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    try:
        with tempfile.TemporaryDirectory(prefix=".launch-", dir=above) as probe:
            os.makedirs(os.path.join(probe, os.path.relpath(path, above)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--run_dir={path} cannot be made ({reason}); name a directory below one "
            "that you may write to"
        ) from error
    if os.path.lexists(path):
        raise UsageError(f"--run_dir={path} is no directory; name another one")
