"""LiteRT's second interface gives the answers of the first, or says why it cannot."""

import numpy as np
import pytest

from eval.predictors import engine, model_files
from eval.predictors.engine import Kernels, LiteRtApi
from eval.predictors.file_options import FileOptions
from export.artifact.number_formats import Io
from tests.support import eval_models, operator_nets
from trainer.errors import InvalidInput

COMPILED = FileOptions(engine=LiteRtApi.COMPILED)


@pytest.mark.parametrize("kernels", [Kernels.XNNPACK, Kernels.BUILTIN])
def test_answers_are_the_interpreter_s(tmp_path, kernels):
    path = tmp_path / "model.tflite"
    path.write_bytes(operator_nets.quantized("resnet8", Io.UINT8))
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    options = FileOptions(kernels=kernels)
    one = model_files.open_file(path, options)
    two = model_files.open_file(
        path, FileOptions(kernels=kernels, engine=LiteRtApi.COMPILED)
    )
    np.testing.assert_array_equal(one(images), two(images))
    assert "api" not in one.model.engine
    assert ", CompiledModel, " in engine.format_engine(two.model.engine)


def test_what_it_cannot_run_is_refused(tmp_path):
    path = eval_models.tflite(tmp_path / "model.tflite")
    folder = tmp_path / "saved_model"
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    with pytest.raises(InvalidInput, match="engine=compiled is for .tflite files"):
        model_files.open_file(folder, COMPILED)
    reference = FileOptions(kernels=Kernels.REFERENCE, engine=LiteRtApi.COMPILED)
    with pytest.raises(InvalidInput, match="no reference kernels, only xnnpack or"):
        model_files.open_file(path, reference)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InvalidInput, match="is damaged"):
        model_files.open_file(path, COMPILED)
