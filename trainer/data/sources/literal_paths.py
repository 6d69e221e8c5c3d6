"""Folders whose names hold characters of patterns, such as "runs[1]".

TFDS finds its files through epath, which joins a folder and a pattern and takes both
for the pattern: it does not see a prepared data set below such a folder.
"""

import glob
import os
from collections.abc import Iterator

from etils.epath import gpath

_glob = gpath._GPath.glob


def take_folders_literally() -> None:
    """Makes epath escape the names of folders, from now on."""
    gpath._GPath.glob = _glob_in_literal_folder


def _glob_in_literal_folder(self: gpath._GPath, pattern: str) -> Iterator[gpath._GPath]:
    """`glob` that takes the folder by its name; buckets as before."""
    here = os.fspath(self)
    folder = self if "://" in here else self._new(glob.escape(here))
    return _glob(folder, pattern)
