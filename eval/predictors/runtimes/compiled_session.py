"""A `.tflite` in LiteRT's CompiledModel API, which is to succeed the interpreter.

It computes on the CPU here, with the kernels that the interpreter has, and copies
tensors through buffers of its own.
"""

import ctypes
import functools
import pathlib

import ai_edge_litert
import numpy as np
from ai_edge_litert import compiled_model

from eval.predictors.engine import Kernels
from trainer.errors import InvalidInput, TrainingFailed, first_line

# LiteRT 2.3 has a mode REFERENCE, too, and runs the builtin kernels in it.
_MODES = {
    Kernels.XNNPACK: compiled_model.CpuKernelMode.DELEGATE,
    Kernels.BUILTIN: compiled_model.CpuKernelMode.BUILTIN,
}
_TYPES = ("float32", "int8", "uint8", "int32")  # of its buffers


def check_usable(path: object, kernels: Kernels, *dtypes: np.dtype) -> None:
    """Checks that the API has `kernels`, and buffers for a file's input and output.

    Raises:
        InvalidInput: it has none.
    """
    if kernels not in _MODES:
        known = " or ".join(kernel.value for kernel in _MODES)
        raise InvalidInput(
            f"engine=compiled has no {kernels.value} kernels, only {known};\n"
            "use engine=interpreter"
        )
    for dtype in dtypes:
        if np.dtype(dtype).name not in _TYPES:
            raise InvalidInput(
                f"engine=compiled has no buffers of {np.dtype(dtype).name}, which"
                f" {path} takes or gives;\nuse engine=interpreter, or export the file"
                " with io=float32"
            )


class CompiledSession:
    """A model that is ready to run on one input.

    Its creation writes to stderr which accelerators LiteRT has looked for.

    Args:
        content: the `.tflite`.
        threads: of the CPU.

    Raises:
        InvalidInput: LiteRT cannot compile it.
    """

    def __init__(self, content: bytes, kernels: Kernels, threads: int = 1) -> None:
        cpu = compiled_model.CpuOptions(
            num_threads=threads, kernel_mode=_MODES[kernels]
        )
        options = compiled_model.Options(cpu_options=cpu)
        try:
            self._model = compiled_model.CompiledModel.from_buffer(
                content, environment=_load_environment(), options=options
            )
            (self._input,) = self._model.create_input_buffers(0)
            (self._output,) = self._model.create_output_buffers(0)
            (name,) = self._model.get_signature_list()
            (taken,) = self._model.get_input_tensor_details(name).values()
            # The first tensor that is written makes another environment.
            self._input.write(np.zeros(taken["shape"], taken["dtype"]))
        except (ValueError, RuntimeError) as error:
            raise InvalidInput(
                f"engine=compiled cannot use this file: {first_line(error)};\n"
                "use engine=interpreter"
            ) from error
        (found,) = self._model.get_output_tensor_details(name).values()
        self._dtype = np.dtype(found["dtype"]).type
        self._count = int(np.prod(found["shape"]))

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Runs the model on its input and returns its output as one row.

        Raises:
            TrainingFailed: LiteRT cannot run it.
        """
        self._input.write(tensor)
        self.invoke()
        return self._output.read(self._count, self._dtype).reshape(-1)

    def invoke(self) -> None:
        """Runs the model on the input that was written last."""
        try:
            self._model.run_by_index(0, [self._input], [self._output])
        except (ValueError, RuntimeError) as error:
            raise TrainingFailed(
                f"LiteRT's CompiledModel cannot run it: {first_line(error)}"
            ) from error


@functools.cache
def _load_environment() -> compiled_model.Environment:
    """The environment of every model in this process, which ends with it."""
    folder = str(pathlib.Path(ai_edge_litert.__file__).parent)
    found = compiled_model.Environment.create(
        options=compiled_model.EnvironmentOptions(runtime_path=folder)
    )
    # When it is released it says so on stderr, behind everything that a command says.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(found.capsule))
    return found
