"""The part of the config that describes training examples and their augmentation."""

import dataclasses

from trainer.config.enums import Augment, Flip, Resize
from trainer.config.options import DATA, Bounded, option, require
from trainer.config.parsing import parse_image_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Bounded):
    """The training examples and their augmentation."""

    GROUP = DATA

    dataset: str = option("cifar10", "TFDS image-classification data set.")
    validation_fraction: float = option(
        0.1,
        "Fraction of the training split that is held out for validation, stratified by "
        "class, the same for every seed.",
        at_least=0,
        at_most=0.5,
    )
    test_fraction: float = option(
        0.1,
        "Fraction of each class that is set apart as the test split where the images "
        "have none, by the hash of their content, the same for every seed.",
        above=0,
        at_most=0.5,
    )
    image_size: tuple[int, int] | None = option(
        None,
        "Height and width of the training images: a side, or HEIGHTxWIDTH. Default: "
        "the size of the files, where all have one.",
        parse=parse_image_size,
    )
    resize: Resize = option(
        Resize.CROP, "How image files of another shape are brought to `image_size`."
    )
    channels: int | None = option(
        None,
        "1 for grey, 3 for colour. Default: 3 as soon as one file has colour.",
        at_least=1,
        at_most=3,
    )
    augment: Augment = option(Augment.FLIP_CROP, "Augmentation of the training images.")
    crop_pixels: int = option(
        4, "Largest shift of a crop in pixels.", at_least=0, at_most=8
    )
    flip: Flip = option(Flip.RANDOM, "Choice of the images that an epoch mirrors.")
    min_crop_area: float = option(
        0.08,
        "Smallest area of a resized crop, of the whole image; its aspect is within 3/4 "
        "and 4/3 (Szegedy et al. 2015).",
        above=0,
        at_most=1,
    )
    color_jitter: float | None = option(
        None,
        "Strength of random brightness, contrast and saturation (Howard 2013): each is "
        "multiplied by 1 -+ this. 0.4 is usual for photographs.",
        above=0,
        at_most=1,
    )
    randaugment_ops: int | None = option(
        None,
        "Number of random operators for each image (RandAugment, Cubuk et al. 2020). "
        "2 is usual.",
        at_least=1,
        at_most=8,
    )
    randaugment_magnitude: float = option(
        9.0, "Strength of the operators of RandAugment.", at_least=0, at_most=10
    )
    mixup: float | None = option(
        None,
        "Mixes images and labels in pairs (Zhang et al. 2018); their shares are drawn "
        "from Beta(a, a) with this a, usually 0.2. Training accuracy is the expected "
        "one over both labels.",
        above=0,
        at_most=100,
    )
    cutmix: float | None = option(
        None,
        "Puts a box of one image into another and mixes their labels (Yun et al. "
        "2019); areas are drawn from Beta(a, a) with this a, usually 1. With `mixup` "
        "each image gets one of both at random.",
        above=0,
        at_most=100,
    )
    progressive_size: int | None = option(
        None,
        "Progressive resizing: height and width of the images in the first steps. "
        "Default: full size.",
        at_least=16,
    )
    progressive_fraction: float = option(
        0.5,
        "Fraction of the steps that `progressive_size` applies to.",
        above=0,
        at_most=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.dataset.strip() == self.dataset and self.dataset != "",
            f"dataset={self.dataset!r} must name a TFDS data set, e.g. cifar10",
        )
        require(self.channels != 2, "channels=2 must be 1 for grey or 3 for colour")
        self._check_augmentation()
        require(
            self.progressive_size is not None
            or self.progressive_fraction == DataConfig.progressive_fraction,
            f"progressive_fraction={self.progressive_fraction} has no effect without "
            "`progressive_size`; add it",
        )

    def _check_augmentation(self) -> None:
        """Refuses options of an augmentation that is off."""
        how, named = self.augment, f"got augment={self.augment.value}"
        require(
            self.flip is Flip.RANDOM or how.mirrors,
            f"flip={self.flip.value} needs an augmentation that mirrors, {named}; "
            "leave `flip` out",
        )
        require(
            self.crop_pixels == DataConfig.crop_pixels or how.crops,
            f"crop_pixels={self.crop_pixels} needs an augmentation that crops, "
            f"{named}; leave `crop_pixels` out",
        )
        require(
            self.min_crop_area == DataConfig.min_crop_area or how.resizes,
            f"min_crop_area={self.min_crop_area} needs augment=resized_crop or "
            f"flip_resized_crop, {named}; leave `min_crop_area` out",
        )
        require(
            self.randaugment_magnitude == DataConfig.randaugment_magnitude
            or self.randaugment_ops is not None,
            f"randaugment_magnitude={self.randaugment_magnitude} has no effect without "
            "`randaugment_ops`; add it",
        )

    @property
    def mixes(self) -> bool:
        """Whether images and labels are mixed with those of a partner."""
        return self.mixup is not None or self.cutmix is not None

    @property
    def uncountable(self) -> str | None:
        """The first option that gives too many views to list them; None: none does."""
        if not self.augment.countable:
            return f"augment={self.augment.value}"
        names = ("color_jitter", "randaugment_ops", "mixup", "cutmix")
        given = ((name, getattr(self, name)) for name in names)
        return next((f"{name}={x}" for name, x in given if x is not None), None)
