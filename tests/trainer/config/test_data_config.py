"""What an augmentation has to say of itself, whichever it is."""

import dataclasses

from trainer.config.data_config import DataConfig

CHOOSES_DATA = {"dataset", "validation_fraction", "test_fraction"}
CHOOSES_DATA |= {"image_size", "resize", "channels"}
# Part of a view that a teacher labels, or refused beside one: see AugmentationIndex.
COUNTED = {"augment", "crop_pixels", "flip"}
FOLLOWS_THE_VIEW = {"progressive_size", "progressive_fraction"}
# No effect without another option, which is uncountable.
OF_ANOTHER = {"min_crop_area", "randaugment_magnitude"}


def test_an_option_of_augmentation_is_uncountable_or_named_here():
    """Else a teacher would label other images than its student sees."""
    named = CHOOSES_DATA | COUNTED | FOLLOWS_THE_VIEW | OF_ANOTHER
    for field in dataclasses.fields(DataConfig):
        if field.name not in named:
            assert DataConfig(**{field.name: 1}).uncountable == f"{field.name}=1"
