"""Options of reading a model file: outputs, input and kernels."""

import dataclasses
import pathlib

from eval.formats.input_normalization import InputRange, InputScaling
from eval.predictors.engine import Kernels, LiteRtApi
from eval.predictors.outputs import Output


@dataclasses.dataclass(frozen=True)
class FileOptions:
    """What the caller knows about a model file; None and AUTO: as the file says.

    Attributes:
        output: meaning of the outputs.
        input_range: the real numbers that pixels 0 and 255 stand for.
        input_scaling: how an 8-bit input takes pixels.
        kernels: LiteRT's kernels for a `.tflite`; None: XNNPACK's.
        engine: LiteRT's interface that runs a `.tflite`; None: the interpreter.
        require_signed: the public key whose owner must have signed it; None: nobody
            need have.
    """

    output: Output = Output.AUTO
    input_range: InputRange | None = None
    input_scaling: InputScaling | None = None
    kernels: Kernels | None = None
    engine: LiteRtApi | None = None
    require_signed: pathlib.Path | None = None


DEFAULT_OPTIONS = FileOptions()
