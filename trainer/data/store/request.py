"""Which image files are asked for, and as which pixels."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from trainer.config.enums import Resize
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig
from trainer.data.preprocessing import PixelSpec
from trainer.data.sources.folder_source import list_folder
from trainer.data.sources.image_files import Listing
from trainer.data.sources.table_source import list_table
from trainer.data.split import IMAGE_DIR, IMAGE_LIST
from trainer.errors import InvalidInput

DEFAULT_TEST_FRACTION = DataConfig().test_fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilesRequest:
    """Image files and the pixels they are to become; see the options of these names.

    Attributes:
        image_dir, image_list: the folder or the table; one of them.
        data_dir: where stores are kept, in a folder "stores"; None: the user's cache.
        image_size: height and width; None: the files must have one size.
        resize: what happens to a file of another shape.
        channels: 1 or 3; None: 3 as soon as one file has colour.
        test_fraction: of each class, set apart where no test images are named.
        skip_unreadable: leaves out files that cannot be read.
        test: False leaves out named test images, which are then not even listed;
            where none are named all files are decoded, as pixels decide which are set
            apart.
    """

    image_dir: str | None = None
    image_list: str | None = None
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    resize: Resize = Resize.CROP
    channels: int | None = None
    test_fraction: float = DEFAULT_TEST_FRACTION
    skip_unreadable: bool = False
    test: bool = True

    @classmethod
    def from_configs(cls, config: Config, run_config: RunConfig) -> "FilesRequest":
        """What the options of a training ask for."""
        return cls(
            image_dir=run_config.image_dir,
            image_list=run_config.image_list,
            data_dir=run_config.data_dir,
            image_size=config.data.image_size,
            resize=config.data.resize,
            channels=config.data.channels,
            test_fraction=config.data.test_fraction,
            skip_unreadable=run_config.skip_unreadable,
            test=run_config.test,
        )

    @classmethod
    def from_recorded(cls, recorded: Mapping[str, Any]) -> "FilesRequest | None":
        """What the config.json of a run asks for; None where it does not say.

        The pixels are those that it recorded, so that other files become the same.
        """
        try:
            spec = PixelSpec.from_json(recorded["data"]["preprocessing"])
            run = recorded.get("run", {})
            fraction = recorded["config"]["data"]["test_fraction"]
            return cls(
                image_dir=run.get("image_dir"),
                image_list=run.get("image_list"),
                data_dir=run.get("data_dir"),
                image_size=(spec.height, spec.width),
                resize=spec.resize,
                channels=spec.channels,
                test_fraction=float(fraction),
                skip_unreadable=run.get("skip_unreadable") is True,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    @property
    def spec(self) -> PixelSpec | None:
        """The pixels where size and channels are given."""
        if self.image_size is None or self.channels is None:
            return None
        return PixelSpec(*self.image_size, self.channels, self.resize)

    @property
    def kind(self) -> str:
        """IMAGE_DIR or IMAGE_LIST."""
        return IMAGE_LIST if self.image_dir is None else IMAGE_DIR

    @property
    def path(self) -> str:
        """The folder or the table."""
        return self.image_list if self.image_dir is None else self.image_dir

    @property
    def option(self) -> str:
        """The option and its value, for messages."""
        return f"{self.kind}={self.path}"

    def list_files(self) -> Listing:
        """Lists the files.

        Raises:
            InvalidInput: they cannot be listed, nothing can be learnt from them, or a
                fraction of images that have their own test split is asked for.
        """
        if self.channels not in (None, 1, 3):
            raise InvalidInput(f"channels={self.channels} must be 1 or 3")
        lists = list_table if self.image_dir is None else list_folder
        listing = lists(self.path, test=self.test)
        listing.check()
        if listing.has_test and self.test_fraction != DEFAULT_TEST_FRACTION:
            raise InvalidInput(
                f"test_fraction={self.test_fraction} is for images without a test "
                f"split, and {self.option} has one; leave it out"
            )
        return listing

    def source_key(self, listing: Listing) -> str:
        """Eight digits that are the same for the same source and way to split it."""
        fraction = None if listing.has_test else self.test_fraction
        text = f"{self.kind}\0{self.path}\0{fraction}"
        text += "\0without test" * listing.sealed
        content = text.encode("utf-8", "surrogateescape")
        return hashlib.sha256(content).hexdigest()[:8]

    def accepts(self, spec: PixelSpec, probed: dict[str, Any]) -> bool:
        """Whether pixels of `spec` are those that are asked for.

        Args:
            spec: of a store.
            probed: "size", the one of all files, and "channels", what they have; None
                where that was not looked at.
        """
        size = probed.get("size") if self.image_size is None else self.image_size
        channels = probed.get("channels") if self.channels is None else self.channels
        wanted = (tuple(size or ()), channels, self.resize)
        return wanted == ((spec.height, spec.width), spec.channels, spec.resize)
