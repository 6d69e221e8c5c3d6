"""What a store says of itself: manifest.json."""

import dataclasses
import importlib.metadata
import json
import pathlib
from typing import Any

import PIL

from trainer import files
from trainer.config.serialization import misfit
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import WITH_TEST
from trainer.errors import InvalidInput

VERSION = 1
FILE = "manifest.json"
PIXELS, LABELS, IDS, SOURCE = "pixels.u8", "labels.npy", "ids.json", "source.json"
MAX_BYTES = 1 << 30  # of manifest.json and of the lists beside it
_FIELDS = {
    "version": int,
    "source": dict,
    "preprocessing": dict,
    "probed": dict,
    "classes": list,
    "validation_images": int,
    "chunk_images": int,
    "splits": dict,
    "skipped": list,
}
_SPLIT_FIELDS = {"images": int, "sha256": str, "pixels_sha256": str, "chunks": list}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The parsed manifest of the store in `folder`.

    Attributes:
        fields: its content; docs/data.md describes each.
    """

    folder: pathlib.Path
    fields: dict[str, Any]

    @property
    def spec(self) -> PixelSpec:
        """How files became pixels."""
        return PixelSpec.from_json(self.fields["preprocessing"])

    @property
    def fingerprint(self) -> str:
        """Of the listing that it was made from."""
        return self.fields["source"]["fingerprint"]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of each file that could not be read."""
        return [(name, reason) for name, reason in self.fields["skipped"]]

    @property
    def splits(self) -> tuple[str, ...]:
        """Its splits: "train", and "test" unless that was left out."""
        return tuple(which for which in WITH_TEST if which in self.fields["splits"])

    def images(self, which: str) -> int:
        """The number of images of a split."""
        return self.fields["splits"][which]["images"]


def load(folder: pathlib.Path) -> Manifest | None:
    """Loads the manifest of the store in `folder`; None if it is not a whole store."""
    try:
        fields = json.loads(files.read_bytes(folder / FILE, MAX_BYTES))
        wrong = misfit(fields, _FIELDS)
        if wrong is not None or fields["version"] != VERSION:
            return None
        if fields["decoder"] != preprocessing.VERSION:
            return None
        found = Manifest(folder, fields)
        if not {"train"} <= set(fields["splits"]) <= set(WITH_TEST):
            return None
        for which in found.splits:
            split = fields["splits"][which]
            length = (folder / which / PIXELS).stat().st_size
            expected = split["images"] * image_bytes(found.spec)
            if misfit(split, _SPLIT_FIELDS) is not None or length != expected:
                return None
            for name in (LABELS, IDS):
                (folder / which / name).stat()
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def image_bytes(spec: PixelSpec) -> int:
    """Bytes of an image."""
    return spec.height * spec.width * spec.channels


def header() -> dict[str, Any]:
    """Versions of what makes a store."""
    try:
        toolkit = importlib.metadata.version("honest-trainer")
    except importlib.metadata.PackageNotFoundError:
        toolkit = "not installed"
    return {
        "version": VERSION,
        "decoder": preprocessing.VERSION,
        "packages": {"honest-trainer": toolkit, "pillow": PIL.__version__},
    }


def read_list(path: pathlib.Path) -> Any:
    """The JSON of a list that a store keeps, however long.

    Raises:
        InvalidInput: it is damaged.
    """
    try:
        return json.loads(files.read_bytes(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {error};\nremove its store with trainer.prepare"
        ) from error
