"""SLURM's short form for many hosts.

>>> expand("gpu[08-10,12]-ib,login")
['gpu08-ib', 'gpu09-ib', 'gpu10-ib', 'gpu12-ib', 'login']

The form is that of `scontrol show hostnames`: https://slurm.schedmd.com/scontrol.html
"""

import itertools
import re

MAX_HOSTS = 65_536  # SLURM's own limit for one node list

_ITEM = re.compile(r"(?:[^,\[\]\s]|\[[^\[\]\s]*\])+")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(text: str) -> list[str]:
    """Host names in the order SLURM numbers them; leading zeros are kept.

    Raises:
      ValueError: an empty list, unbalanced brackets, a range that is not one, or more
        than MAX_HOSTS hosts.
    """
    items = _ITEM.findall(text)
    if not items or ",".join(items) != text:
        raise ValueError(f"{text!r} is not a host list such as node[1-4,7],login")
    hosts = [host for item in items for host in _expand_item(item)]
    if len(hosts) > MAX_HOSTS:
        raise ValueError(f"{text!r} names {len(hosts)} hosts, more than {MAX_HOSTS}")
    return hosts


def _expand_item(item: str) -> list[str]:
    """`a[1-2]b[3,4]` as every combination, the last bracket running fastest."""
    parts = re.split(r"\[([^\]]*)\]", item)
    choices = [
        _numbers(part) if position % 2 else [part]
        for position, part in enumerate(parts)
    ]
    return ["".join(choice) for choice in itertools.product(*choices)]


def _numbers(ranges: str) -> list[str]:
    """`08-10,12` as zero-padded texts."""
    numbers = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"[{ranges}] is not a list of ranges such as [1-4,7]")
        first, last = match[1], match[2] or match[1]
        span = range(int(first), int(last) + 1)
        if not 0 < len(span) <= MAX_HOSTS:
            raise ValueError(f"[{part}] names {max(len(span), 0)} hosts")
        numbers += [str(number).zfill(len(first)) for number in span]
    return numbers
