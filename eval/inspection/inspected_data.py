"""InspectedData: the images of a data set with their splits, labels and content."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eval.inspection import image_facts
from eval.inspection.image_facts import ImageFacts
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec, UnreadableImage
from trainer.data.sources.image_files import Listing


@dataclasses.dataclass(frozen=True, slots=True)
class InspectedImage:
    """One image: its name or id, split, label, and why it cannot be opened if so."""

    name: str
    split: str
    label: int
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class InspectedData:
    """A data set.

    Attributes:
        kind: "image_dir", "image_list" or "dataset".
        name: of the folder, table or TFDS data set.
        classes: their names, by label.
        images: in the order of the data set.
        remarks: lines on what was left out.
        problems: why nothing can be learnt from the images; (): something can.
        open: the content of the image in a row: the bytes of a file, or pixels
            uint8 [H, W, C]; raises OSError.
    """

    kind: str
    name: str
    classes: tuple[str, ...]
    images: Sequence[InspectedImage]
    remarks: tuple[str, ...]
    open: Callable[[int], bytes | np.ndarray]
    problems: tuple[str, ...] = ()

    def measure(self, row: int) -> ImageFacts | str:
        """The facts of an image; text: why it cannot be used."""
        image = self.images[row]
        if image.problem:
            return image.problem
        try:
            content = self.open(row)
            if isinstance(content, bytes):
                return image_facts.measure_file(content, image.name)
            return image_facts.measure_pixels(content)
        except UnreadableImage as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)

    def pixels(self, row: int) -> np.ndarray:
        """The whole image in a row: uint8 [H, W, C].

        Raises:
            UnreadableImage, OSError: it cannot be used.
        """
        content = self.open(row)
        if isinstance(content, np.ndarray):
            return content
        info = preprocessing.probe(content)
        return preprocessing.decode(content, PixelSpec(info.height, info.width, 3))


def from_listing(
    listing: Listing, splits: Mapping[str, str] | None = None
) -> InspectedData:
    """The image files of a folder or table.

    `splits` are those of a run by the names of files, where they are others than those
    of the listing.
    """
    found, known = listing.files, splits or {}
    return InspectedData(
        kind=listing.kind,
        name=listing.path,
        classes=listing.classes,
        images=[
            InspectedImage(f.name, known.get(f.name, f.split), f.label, f.problem)
            for f in found
        ],
        remarks=listing.remarks,
        open=lambda row: preprocessing.read_file(found[row].path),
        problems=listing.problems,
    )


def from_arrays(
    name: str, classes: Sequence[str], parts: Sequence[tuple[Sequence, np.ndarray]]
) -> InspectedData:
    """A data set of pixels; each part is its InspectedImages and uint8 [N, H, W, C]."""
    starts = np.cumsum([0, *(len(images) for images, _ in parts)])

    def open_row(row: int) -> np.ndarray:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return parts[part][1][row - starts[part]]

    images = [image for some, _ in parts for image in some]
    return InspectedData("dataset", name, tuple(classes), images, (), open_row)
