"""Checks that the server of a data set answers; TFDS would try for minutes."""

import queue
import threading
import urllib.error
import urllib.parse
import urllib.request

from trainer.errors import DataUnavailable
from trainer.monitoring.progress import CONSOLE

REACH_SECS = 5  # to answer a request for the first byte of a download


def check_reachable(url: str, name: str, folder: object) -> None:
    """Checks that `url` answers, where the data set `name` is downloaded from.

    Args:
        url: of one of its files.
        name: of the data set.
        folder: where it would be prepared.

    Raises:
        DataUnavailable: there is no answer.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A daemon: a name look-up has no time-out and must not delay the exit.
    threading.Thread(
        target=lambda: answers.put(_find_connection_error(url)), daemon=True
    ).start()
    try:
        with CONSOLE.phase(f"asking {urllib.parse.urlsplit(url).hostname} for {name}"):
            reason = answers.get(timeout=2 * REACH_SECS)
    except queue.Empty:
        reason = "no answer"
    if reason is not None:
        raise DataUnavailable(
            f"dataset={name} is not prepared in {folder} and "
            f"{url} cannot be reached ({reason});\nname the folder of a prepared "
            "copy with `data_dir`, or use dataset=digits, which needs no network"
        )


def _find_connection_error(url: str) -> str | None:
    """Why `url` gives no answer at all; None if it answers."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=REACH_SECS).close()
    except urllib.error.HTTPError:
        return None  # a server answered: TFDS may succeed
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None
