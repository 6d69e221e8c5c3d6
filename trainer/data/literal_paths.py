"""Literal: folders whose names hold characters of patterns, as "runs[1]" does.

TFDS looks for its files through epath, which joins a folder and a pattern and takes
both for the pattern: a prepared set below such a folder is not seen.
"""

import glob
import os
from collections.abc import Iterator

from etils.epath import gpath

_glob = gpath._GPath.glob


def _literal(self, pattern: str) -> Iterator:
    """`glob` that takes the folder by its name; buckets as before."""
    here = os.fspath(self)
    folder = self if "://" in here else self._new(glob.escape(here))
    return _glob(folder, pattern)


gpath._GPath.glob = _literal
