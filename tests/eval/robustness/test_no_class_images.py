"""Images of no class: the same every time, of any shape, from any folder."""

import numpy as np
import pytest
from PIL import Image

from eval.robustness import no_class_images
from trainer.config.enums import Resize
from trainer.data.preprocessing import PixelSpec
from trainer.errors import InvalidInput

TEST = np.random.default_rng(0).integers(0, 256, (300, 9, 10, 3), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_default_sets_have_the_shape_of_the_test_images(channels):
    test = TEST[..., :channels]
    found = no_class_images.make_defaults(test, ["cat", "dog"])
    names = [each.name for each in found]
    assert names == ["scrambled", "photographs", "digits", "colours", "noise"]
    for each in found:
        assert each.images.shape == (256, 9, 10, channels), each.name
        assert each.images.dtype == np.uint8 and each.what
    again = no_class_images.make_defaults(test, ["cat", "dog"])
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
    scrambled = found[0].images
    assert (np.sort(scrambled[0], axis=None) == np.sort(test[0], axis=None)).all()
    assert (scrambled[0] != test[0]).any()


def test_digits_are_no_images_of_no_class_where_they_are_classes():
    found = no_class_images.make_defaults(TEST, [str(n) for n in range(10)])
    assert "digits" not in {each.name for each in found}


def test_a_folder_is_read_as_the_model_s_images_are(tmp_path):
    spec = PixelSpec(6, 8, 3, Resize.SQUASH)
    (tmp_path / "deep").mkdir()
    for number in range(3):
        image = Image.new("RGB", (20 + number, 10), (number, 100, 200))
        image.save(tmp_path / "deep" / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    said = []
    own = no_class_images.load_named(str(tmp_path), spec, None, said.append)
    assert own.images.shape == (3, 6, 8, 3) and own.what == str(tmp_path)
    assert own.images[2, 0, 0].tolist() == [2, 100, 200]
    (line,) = said
    assert "bad.png" in line and "\n" not in line


@pytest.mark.parametrize("name", ["/none/there", "./none", "no_such_data_set"])
def test_what_is_not_there_is_told(name, tmp_path):
    spec = PixelSpec(6, 8, 3)
    with pytest.raises(InvalidInput, match=name.strip("./")):
        no_class_images.load_named(name, spec, str(tmp_path), print)
    with pytest.raises(InvalidInput, match="no image that can be read"):
        no_class_images.load_named(str(tmp_path), spec, None, lambda line: None)
