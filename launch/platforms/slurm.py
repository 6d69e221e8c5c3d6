"""SLURM's short form for many hosts.

>>> expand("gpu[08-10,12]-ib,login")
['gpu08-ib', 'gpu09-ib', 'gpu10-ib', 'gpu12-ib', 'login']

The form is that of `scontrol show hostnames`: https://slurm.schedmd.com/scontrol.html
"""

import itertools
import math
import re

from trainer.contract import MAX_HOST_CHARS

MAX_HOSTS = 65_536  # SLURM's own limit for one node list

_ITEM = re.compile(r"(?:[^,\[\]\s]|\[[^\[\]\s]*\])+")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def expand(text: str) -> list[str]:
    """Host names in the order SLURM numbers them; leading zeros are kept.

    Raises:
      ValueError: an empty list, unbalanced brackets, a range that is not one, or more
        than MAX_HOSTS hosts.
    """
    items = _ITEM.findall(text)
    if not items or ",".join(items) != text:
        raise ValueError(f"{text!r} is not a host list such as node[1-4,7],login")
    hosts: list[str] = []
    for item in items:
        choices = _choices(item)
        if len(hosts) + math.prod(map(len, choices)) > MAX_HOSTS:
            raise ValueError(f"{text!r} names more than {MAX_HOSTS} hosts")
        hosts += map("".join, itertools.product(*choices))
    return hosts


def _choices(item: str) -> list[list[str]]:
    """`a[1-2]b[3,4]` as [a], [1, 2], [b], [3, 4]; the last bracket runs fastest."""
    parts = re.split(r"\[([^\]]*)\]", item)
    if sum(map(len, parts[::2])) > MAX_HOST_CHARS:
        raise ValueError(f"{item[:80]}… is longer than {MAX_HOST_CHARS} characters")
    return [
        _numbers(part) if position % 2 else [part]
        for position, part in enumerate(parts)
    ]


def _numbers(ranges: str) -> list[str]:
    """`08-10,12` as zero-padded texts."""
    numbers = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"[{ranges}] is not a list of ranges such as [1-4,7]")
        first, last = match[1], match[2] or match[1]
        span = range(int(first), int(last) + 1)
        count = max(span.stop - span.start, 0)  # len() has a limit
        if not 0 < count <= MAX_HOSTS - len(numbers):
            raise ValueError(f"[{part}] names {count} hosts")
        numbers += [str(number).zfill(len(first)) for number in span]
    return numbers
