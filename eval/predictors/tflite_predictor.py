"""Model of any `.tflite` image classifier, run by LiteRT on every core."""

import concurrent.futures
import copy
import pathlib
import struct

import numpy as np
from ai_edge_litert import interpreter as litert

from eval.formats import input_normalization, tflite_metadata
from eval.formats.flatbuffer import FlatbufferInfo
from eval.formats.input_normalization import InputNormalization, InputScaling
from eval.predictors import engine, outputs, sandbox
from eval.predictors.engine import Kernels, LiteRtApi
from eval.predictors.outputs import Output
from eval.predictors.runtimes import compiled_session
from eval.predictors.runtimes.compiled_session import CompiledSession
from trainer import files, system
from trainer.errors import InvalidInput, TrainingFailed, first_line
from trainer.monitoring import native_output
from trainer.monitoring.progress import OnBatch

_SLICE = 64  # images a thread takes at once
RESOLVERS = {
    Kernels.XNNPACK: litert.OpResolverType.AUTO,
    Kernels.BUILTIN: litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    Kernels.REFERENCE: litert.OpResolverType.BUILTIN_REF,
}


class TfliteModel:
    """Computes raw outputs of a `.tflite` file, dequantised.

    Attributes:
        shape: (H, W, C) of an image; None where the file leaves a side open.
        classes: width of the output; None where the file leaves it open.
        step: smallest difference between two outputs; 0 for a float output.
        says: meaning of the outputs by the last operator, None if unclear.
        engine: description of the runtime.
        notes: messages that a reader of the outputs needs.
    """

    def __init__(
        self,
        path: pathlib.Path,
        given: InputNormalization | None = None,
        noted: InputNormalization | None = None,
        scaling: InputScaling | None = None,
        kernels: Kernels = Kernels.XNNPACK,
        api: LiteRtApi = LiteRtApi.INTERPRETER,
    ) -> None:
        """Opens `path`.

        Args:
            given: normalisation of the input; None: that of the metadata, or `noted`.
            noted: normalisation of the input by the manifest.
            scaling: how an 8-bit input takes pixels; None: as the file says.
            api: what runs the file; the interpreter describes it in any case.

        Raises:
            InvalidInput: the file is damaged or not an image classifier, or `api`
                cannot run it.
        """
        self._content, self._path, self._kernels = _load(path), path, kernels
        sandbox.check_file(path, self._content, RESOLVERS[kernels].value)
        first = self._interpreter()
        ins, outs = first.get_input_details(), first.get_output_details()
        self._input, self._output = (
            _only(ins, path, "input"),
            _only(outs, path, "output"),
        )
        self._set_shapes()
        self._api = api
        if api is LiteRtApi.COMPILED:
            self._check_compiled()
        operators = [found["op_name"] for found in first._get_ops_details()]
        self.engine = engine.describe_litert(kernels, operators, api)
        last, self.step = _last_operator(self._content, self._output)
        self.says: Output | None = outputs.OUTPUT_OF_OPERATOR.get(last)
        self._pixels, self.notes = self._choose_reading(given, noted, scaling)

    def _set_shapes(self) -> None:
        """Sets `shape`, `classes` and the batch from the file's signature."""
        shape = _signature(self._input)
        batched = len(shape) == 4
        self.shape = tuple(shape[1:] if batched else shape)
        self._batch = int(self._input["shape"][0]) if batched else 1
        self._open = None in self.shape
        output = self._output["shape"].tolist()
        sound = len(self.shape) == 3 and self._batch > 0
        if not sound or int(np.prod(output)) % self._batch:
            raise InvalidInput(
                f"{self._path}: input {self._input['shape'].tolist()} and output"
                f" {output} are not those of an image classifier; images are"
                " [N, H, W, C] or [H, W, C]"
            )
        self.classes = int(np.prod(output)) // self._batch
        if self._open and None in (sides := _signature(self._output)[1:]):
            self.classes = None if sides else self.classes

    def _check_compiled(self) -> None:
        """Checks that the CompiledModel API takes the file's input and output."""
        dtypes = (each["dtype"] for each in (self._input, self._output))
        compiled_session.check_usable(self._path, self._kernels, *dtypes)
        if self._open:
            raise InvalidInput(
                f"engine=compiled takes files of one size of images, {self._path} takes"
                " any;\nuse engine=interpreter"
            )

    def _choose_reading(
        self,
        given: InputNormalization | None,
        noted: InputNormalization | None,
        scaling: InputScaling | None,
    ) -> tuple[InputNormalization | None, list[str]]:
        """Chooses the conversion of pixels to the input, and notes for the reader."""
        found = tflite_metadata.parse_normalization(self._content)
        dtype = np.dtype(self._input["dtype"])
        if dtype.itemsize > 1:
            if scaling is not None:
                raise InvalidInput(
                    f"input_scaling={scaling.value} is for 8-bit inputs, {self._path}"
                    f" takes {dtype}; see `input_range`"
                )
            if found and noted and not found.is_close(noted):
                raise InvalidInput(
                    f"{self._path} says in its metadata that its input is {found}, its"
                    f" manifest {noted};\n`input_range` says which numbers it takes"
                )
            return given or found or noted, []
        if given is not None:
            return given, []
        return input_normalization.choose_8bit_reading(
            dtype, self._input["quantization"], found, scaling, str(self._path)
        )

    @property
    def output_zero_point(self) -> int | None:
        """What an integer output gives for 0; None: the output is a float."""
        if np.dtype(self._output["dtype"]).kind == "f":
            return None
        return int(self._output["quantization"][1])

    def alternative_readings(self) -> dict[str, "TfliteModel"]:
        """Copies the model with other conversions of its input, by option."""
        detail, found = self._input, tflite_metadata.parse_normalization(self._content)
        others = input_normalization.alternatives(
            detail["dtype"], detail["quantization"], self._pixels, found
        )
        made = {flag: copy.copy(self) for flag in others}
        for flag, read in others.items():
            made[flag]._pixels = read
        return made

    def _interpreter(self, shape: tuple[int, ...] | None = None) -> litert.Interpreter:
        """Creates an interpreter; `shape` is that of images if the file has none."""
        try:
            made = litert.Interpreter(
                model_content=self._content,
                num_threads=1,
                experimental_op_resolver_type=RESOLVERS[self._kernels],
            )
            if shape is not None:
                batch = [self._batch] if len(self._input["shape"]) == 4 else []
                made.resize_tensor_input(self._input["index"], [*batch, *shape])
            made.allocate_tensors()
        except Exception as error:  # a damaged or foreign file may raise anything
            wanted = "" if shape is None else f" on images {shape}"
            spoken = isinstance(error, ValueError | RuntimeError)
            line = first_line(error) if spoken else "it cannot be read"
            raise InvalidInput(
                f"{self._path} is damaged or no .tflite model that LiteRT can run"
                f"{wanted}: {line};\ncopy it again, or convert it with LiteRT's own"
                " operators only"
            ) from error
        return made

    def __call__(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Computes the outputs of `images` uint8 [N, H, W, C]: float64 [N, classes]."""
        size = max(_SLICE // self._batch, 1) * self._batch
        starts = range(0, len(images), size)
        workers = min(engine.cores(), len(starts))
        shape = images.shape[1:] if self._open else None
        spare = [self._session(shape) for _ in range(workers)]

        def work(start: int) -> np.ndarray:
            own = spare.pop()  # list.pop and append are atomic
            try:
                return self._run(own, images[start : start + size], tick)
            finally:
                spare.append(own)

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return np.concatenate(list(pool.map(work, starts)))

    def _session(
        self, shape: tuple[int, ...] | None
    ) -> "CompiledSession | InterpreterSession":
        """Creates what runs the file in one thread."""
        if self._api is LiteRtApi.COMPILED:
            with native_output.suppress_native_stderr():
                return CompiledSession(self._content, self._kernels)
        return InterpreterSession(self._interpreter(shape))

    def _run(
        self,
        own: "CompiledSession | InterpreterSession",
        images: np.ndarray,
        tick: OnBatch,
    ) -> np.ndarray:
        detail = self._input
        taken = input_normalization.encode(
            images, detail["dtype"], detail["quantization"], self._pixels
        )
        short = -len(taken) % self._batch
        taken = np.concatenate([taken, np.zeros_like(taken[:1]).repeat(short, 0)])
        rows = []
        for start in range(0, len(taken), self._batch):
            try:
                found = own.run(taken[start : start + self._batch])
            except RuntimeError as error:
                raise TrainingFailed(
                    f"{self._path}: LiteRT cannot run it: {first_line(error)}"
                ) from error
            rows.append(found.reshape(self._batch, -1))
            tick(min(self._batch, len(images) - start))
        raw = np.concatenate(rows)[: len(images)]
        return input_normalization.dequantize(raw, self._output["quantization"])


class InterpreterSession:
    """An interpreter that is ready to run on one input."""

    def __init__(self, interpreter: litert.Interpreter) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]
        self._output = interpreter.get_output_details()[0]["index"]

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Runs the model on its input and returns its output.

        Raises:
            RuntimeError: LiteRT cannot run it.
        """
        self._interpreter.set_tensor(
            self._input["index"], tensor.reshape(self._input["shape"])
        )
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def _load(path: pathlib.Path) -> bytes:
    try:
        return files.read_bytes(path, system.free_bytes() // 8)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


def _only(details: list[dict], path: pathlib.Path, what: str) -> dict:
    if len(details) != 1:
        raise InvalidInput(f"{path} has {len(details)} {what}s; a classifier has 1")
    dtype = np.dtype(details[0]["dtype"])
    if dtype.kind not in "fiu":
        raise InvalidInput(
            f"{path} has an {what} of {dtype}; a classifier's are numbers"
        )
    return details[0]


def _signature(detail: dict) -> list[int | None]:
    """Reads the shape of a tensor; None for a side that is not fixed."""
    sides = detail["shape_signature"].tolist() or detail["shape"].tolist()
    return [None if side < 0 else side for side in sides]


def _last_operator(content: bytes, output: dict) -> tuple[str, float]:
    """Finds the last operator and its quantisation step."""
    step = float(output["quantization"][0])
    try:
        last, behind = FlatbufferInfo(content).output_operator()
    except (IndexError, ValueError, TypeError, struct.error, AttributeError):
        return "", step  # Python cannot parse the file, but LiteRT can
    return last, step or behind
