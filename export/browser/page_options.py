"""Options of the page."""

import dataclasses

from export.artifact.number_formats import IO_TYPES, Io, Scheme
from trainer.errors import InvalidConfig

# LiteRT.js takes float32, int32 and uint8 only.
PAGE_SCHEMES = tuple(scheme for scheme in Scheme if Io.UINT8 in IO_TYPES[scheme])
_MOST_IMAGES, _LEAST_IMAGES = 200, 12
_MOST_BYTES = 1_500_000  # of the test images in a page, unless a number is given


@dataclasses.dataclass(frozen=True)
class PageOptions:
    """What goes into the page.

    Attributes:
        scheme: number format of the network.
        images: number of test images; None: up to 200, by their size.

    Raises:
        InvalidConfig: a value is out of range.
    """

    scheme: Scheme = Scheme.INT8
    images: int | None = None

    def __post_init__(self) -> None:
        if self.scheme not in PAGE_SCHEMES:
            known = ", ".join(member.value for member in PAGE_SCHEMES)
            raise InvalidConfig(
                f"scheme={self.scheme.value} does not run in a browser, only {known}"
            )
        if self.images is not None and self.images < 1:
            raise InvalidConfig(f"page_images={self.images} must be at least 1")

    def count_images(self, available: int, image_bytes: int) -> int:
        """The number of test images that the page gets, of `available` ones."""
        fitting = max(min(_MOST_IMAGES, _MOST_BYTES // image_bytes), _LEAST_IMAGES)
        return min(self.images or fitting, available)
