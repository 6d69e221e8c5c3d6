"""Reads files of weights: NumPy's .npz, and Keras' .keras, .weights.h5 and .h5.

Only arrays are read, never code. Two layouts of HDF5 occur: Keras 3 writes a group for
each layer, such as ``layers/conv2d_1/vars/0``, with the layer's name as an attribute;
older files, among them those of keras.applications, list ``layer_names`` and, for each
of these groups, ``weight_names``. It does not import TensorFlow.
"""

import dataclasses
import io
import itertools
import pathlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import h5py
import numpy as np

from trainer import files, system
from trainer.errors import InvalidInput
from trainer.rundir.arrays import parse_npz
from trainer.rundir.weights import eval_weights, raw_weights

MOST_BYTES = 4 << 30
_MEMBER = "model.weights.h5"  # of a .keras file
_FOLDERS = ("layers", "_layer_checkpoint_dependencies")  # of Keras 3 and 2.13


@dataclasses.dataclass(frozen=True)
class StoredLayer:
    """The arrays of one layer in a file, in Keras' order.

    Attributes:
        names: the names of its models and its own one, from the outermost on.
        arrays: its weights.
        kind: class of the layer, in snake case; None in a nested model, and where the
            file does not tell. A part of a layer has that of the layer.
        number: position among the layers of its kind, or among all layers.
    """

    names: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]
    kind: str | None
    number: int

    @property
    def is_normalization(self) -> bool:
        """Whether it has mean, variance and count of Keras' Normalization."""
        return len(self.arrays) == 3 and self.arrays[2].shape == ()


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """Weights of a file or a run: by path, or in layers.

    Attributes:
        by_path: weights by the path of their variable, if these are known.
        layers: the layers otherwise.
        classes: names of the classes that a run was trained on.
    """

    by_path: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    layers: Sequence[StoredLayer] = ()
    classes: Sequence[str] | None = None


def parse(path: pathlib.Path, content: bytes) -> StoredWeights:
    """Parses the content of the file `path`, by its suffix.

    Raises:
        InvalidInput: it is damaged, or has another format.
    """
    try:
        if path.suffix == ".npz":
            found = StoredWeights(by_path=_from_npz(content))
        else:
            hdf5 = _unpack(content) if path.suffix == ".keras" else content
            found = StoredWeights(layers=_from_hdf5(hdf5))
    except InvalidInput:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(
            f"init_from={path} cannot be read: {reason:.200}; save or copy it again"
        ) from error
    arrays = [*found.by_path.values()]
    arrays += [array for layer in found.layers for array in layer.arrays]
    if not arrays:
        raise InvalidInput(
            f"init_from={path} has no weights; save them by model.save_weights"
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise InvalidInput(
            f"init_from={path} has weights that are NaN or infinite; name another file"
        )
    return found


def read(path: pathlib.Path) -> bytes:
    """Reads a file of weights whole.

    Raises:
        InvalidInput: it cannot be read, or does not fit into the free memory.
    """
    try:
        size = path.stat().st_size
        if 2 * size > (free := system.free_bytes()):
            raise InvalidInput(
                f"init_from={path} needs {2 * size:,} bytes of memory, {free:,} are "
                "free"
            )
        return files.read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise InvalidInput(
            f"init_from={path} cannot be read: {error.strerror or error}; name another "
            "file"
        ) from error


def _from_npz(content: bytes) -> dict[str, np.ndarray]:
    """Reads arrays by path; those of a checkpoint are its evaluated weights."""
    arrays = parse_npz(content)
    return eval_weights(arrays) if raw_weights(arrays) else arrays


def _unpack(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            member = packed.getinfo(_MEMBER)
            if member.file_size > 8 * len(content):
                raise ValueError(f"{_MEMBER} is packed too tightly")
            return packed.read(member)
    except KeyError as error:
        raise ValueError(f"it has no {_MEMBER}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is no .keras file ({error})") from error


def _from_hdf5(content: bytes) -> list[StoredLayer]:
    with h5py.File(io.BytesIO(content), "r") as file:
        root = file.get("model_weights", file)
        if _names(root, "layer_names"):
            return list(_named_layers(root))
        return [layer for name in _FOLDERS for layer in _layers(file, name, ())]


def _named_layers(root: h5py.Group) -> Iterator[StoredLayer]:
    """Reads the layout of Keras 2: groups that list the names of their weights."""
    number = 0
    for group_name in _names(root, "layer_names"):
        group = _member(root, group_name)
        parts: dict[str, list[np.ndarray]] = {}
        for weight in _names(group, "weight_names"):
            path = weight.split(":")[0].rpartition("/")[0]
            parts.setdefault(path, []).append(_array(group, weight))
        for path, arrays in parts.items():
            # The names of weights of a plain layer may begin with that of its model.
            names = (group_name,) if len(parts) == 1 else tuple(path.split("/"))
            yield StoredLayer(names, tuple(arrays), None, number)
            number += 1


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads a list of names, which Keras divides into parts of at most 64 kB."""
    if attribute in group.attrs:
        return [_text(name) for name in group.attrs[attribute]]
    parts = (f"{attribute}{number}" for number in itertools.count())
    there = itertools.takewhile(lambda part: part in group.attrs, parts)
    return [_text(name) for part in there for name in group.attrs[part]]


def _layers(
    group: h5py.Group, folder: str, outer: tuple[str, ...]
) -> Iterator[StoredLayer]:
    """Reads the layout of Keras 3 below ``group/folder``."""
    if folder not in group:
        return
    for name in group[folder]:
        kind, _, number = name.rpartition("_")
        if not number.isdigit():
            kind, number = name, "0"
        top = StoredLayer(outer, (), None if outer else kind, int(number))
        yield from _parts(_member(group[folder], name), name, top)


def _parts(group: h5py.Group, folder: str, outer: StoredLayer) -> Iterator[StoredLayer]:
    """Reads a layer, and the layers that it consists of."""
    variables = group.get("vars", {})
    own = _text(variables.attrs["name"]) if len(getattr(variables, "attrs", ())) else ""
    part = dataclasses.replace(outer, names=(*outer.names, own or folder))
    arrays = [_array(variables, key) for key in sorted(variables, key=_number)]
    if arrays:
        yield dataclasses.replace(part, arrays=tuple(arrays))
    for name in group:
        if name in _FOLDERS:
            yield from _layers(group, name, part.names)
        elif name != "vars" and isinstance(_member(group, name), h5py.Group):
            yield from _parts(group[name], name, part)


def _number(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (len(key) + 10**6, key)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Opens a member that is in this file: a link would read another one."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r:.80} is a link")
    return group[name]


def _array(group: h5py.Group, name: str) -> np.ndarray:
    found = group
    for part in name.split("/"):
        found = _member(found, part)
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise ValueError(f"{name!r:.80} is not an array in this file")
    if found.dtype.kind not in "fiu" or found.nbytes > system.free_bytes():
        raise ValueError(f"{name!r:.80} is {found.dtype} {found.shape}, not weights")
    return np.asarray(found[()])
