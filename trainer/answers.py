"""Answers: a teacher's logits for every view, kept in the run directory of a student.

Layout: ``teacher/view-000.npy`` (float16 [rows, classes], the rows learnt from in
ascending order) and ``teacher/manifest.json`` with what decides them and size and
SHA-256 of each file. A view is on disk as soon as it is computed, so a kill loses one.
"""

import hashlib
import io
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer import arrays, files

VERSION = 1
MANIFEST = "manifest.json"
_HEADER_BYTES = 4096  # NumPy's own has 128


class Answers:
    """Float16 logits [views, rows, classes], those that are there.

    Args:
        folder: where the files are.
        key: what decides the numbers; files of another key are not used.
        shape: views, rows, classes.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        key: dict[str, Any],
        shape: tuple[int, int, int],
    ) -> None:
        self._folder, self.shape = folder, shape
        self._key = {"version": VERSION, **key, "shape": list(shape)}
        self._files: dict[str, dict[str, Any]] = {}
        self._views: dict[int, np.ndarray] = {}

    @property
    def missing(self) -> list[int]:
        """The views that are not there yet."""
        return [view for view in range(self.shape[0]) if view not in self._views]

    def load(self, *, damaged: Callable[[str], None]) -> None:
        """Takes over the whole files of the folder; `damaged` is told of the others."""
        self._files = self._listed(damaged)
        for view in self.missing:
            if (name := _name(view)) in self._files:
                try:
                    self._views[view] = self._read(name)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    damaged(f"{self._folder / name} is not used: {error}")

    def _listed(self, damaged: Callable[[str], None]) -> dict[str, dict[str, Any]]:
        path = self._folder / MANIFEST
        if not path.exists():
            return {}
        try:
            manifest = files.read_json(path)
            listed = manifest.pop("files")
            if manifest != self._key:
                raise ValueError("it is of another teacher or other views")
            return dict(listed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damaged(f"{path} is not used: {error}")
            return {}

    def _read(self, name: str) -> np.ndarray:
        rows, classes = self.shape[1:]
        limit = _HEADER_BYTES + 2 * rows * classes
        content = files.read_bytes(self._folder / name, limit)
        if _facts(content) != self._files[name]:
            raise ValueError("its bytes are not those of the manifest")
        array = arrays.npy(content)
        if array.dtype != np.float16 or array.shape != self.shape[1:]:
            raise ValueError(f"it holds {array.dtype} {array.shape}")
        return array

    def add(self, view: int, logits: np.ndarray, *, write: bool) -> bool:
        """Takes float [rows, classes] of one view, and writes it if asked to.

        Only differences within a row matter, so its largest becomes 0: float16 then
        rounds the answers that matter least.

        Returns:
            Whether the folder had other bytes for this view before they were damaged.

        Raises:
            ValueError: they are not finite.
            OSError: the disk is full or gone.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # found by the next line
            half = (logits - logits.max(axis=1, keepdims=True)).astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError("its logits are not finite in float16")
        self._views[view] = half
        packed = io.BytesIO()
        np.save(packed, half)
        name, facts = _name(view), _facts(packed.getvalue())
        differs = self._files.get(name, facts) != facts
        if write:
            self._files[name] = facts
            self._folder.mkdir(exist_ok=True)
            files.write_bytes(self._folder / name, packed.getvalue())
            manifest = {**self._key, "files": self._files}
            files.write_json(self._folder / MANIFEST, manifest)
        return differs

    def array(self) -> np.ndarray:
        """Float16 [views, rows, classes]; no view may be missing."""
        return np.stack([self._views[view] for view in range(self.shape[0])])

    @property
    def sha256(self) -> str:
        """Over all of them."""
        return hashlib.sha256(self.array().tobytes()).hexdigest()


def _name(view: int) -> str:
    return f"view-{view:03}.npy"


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
