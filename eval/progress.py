"""A bar on a terminal, nothing in a pipe."""

import contextlib
from collections.abc import Callable, Iterator

import tqdm

Tick = Callable[[int], object]  # called with the number of images just done


@contextlib.contextmanager
def bar(total: int, what: str) -> Iterator[Tick]:
    """Yields the function to call with each number of images done."""
    with tqdm.tqdm(total=total, desc=what, unit="image", disable=None) as shown:
        yield shown.update


def silent(_: int) -> None:
    """A Tick that shows nothing."""
