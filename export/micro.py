"""Writes a run as C source for microcontrollers, proven with their own interpreter.

Synopsis::

    python -m export.micro  # runs/latest/export/micro_int8/model.h and model.c

The arena is the smallest with which TensorFlow Lite Micro and its reference kernels
start, and the test split is run in it; what CMSIS-NN's kernels need is computed.
"""

import importlib.metadata
import importlib.util
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from eval import report
from eval.engine import Kernels
from export import artifact, c_source, source, tflite
from export.artifact import Artifact
from export.c_source import Constants
from export.scheme import Io, Scheme
from trainer import commandline, files
from trainer.commandline import Failure, UsageError
from trainer.progress import CONSOLE

if TYPE_CHECKING:
    from eval.predictors import Predictor
    from export.micro_model import MicroModel
    from export.source import Source

# The schemes TensorFlow Lite Micro has kernels for, and their ends: no CAST of uint8.
ENDS = {
    Scheme.INT8: Io.INT8,
    Scheme.INT16X8: Io.INT16,
    Scheme.FLOAT32: Io.FLOAT32,
}
_ACTIVATION_BYTES = {Scheme.INT8: 1, Scheme.INT16X8: 2, Scheme.FLOAT32: 4}
PACKAGE = "tflite-micro"


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    flags.DEFINE_enum(
        "scheme",
        Scheme.INT8.value,
        [scheme.value for scheme in ENDS],
        "Of weights and arithmetic.",
        flag_values=values,
        module_name="Number format",
    )
    report.define_kernels(values)
    return source.define(values)


def installed() -> bool:
    """Whether the interpreter, an optional package, is there."""
    return importlib.util.find_spec("tflite_micro") is not None


def export(
    opened: "Source",
    scheme: Scheme,
    max_accuracy_drop: float,
    kernels: Kernels = Kernels.XNNPACK,
) -> Artifact:
    """Writes, verifies and names the C source.

    Raises:
        Failure: it misses its gate, cannot be run or cannot be written.
    """
    from export import converter, metadata, parity

    ends = ENDS[scheme]
    order = tflite.Order(scheme, ends, max_accuracy_drop, kernels=kernels)
    images = tflite.representative(opened, order)
    _say(_weights(opened, scheme))
    content = metadata.aligned(
        converter.convert(opened.network, scheme, order.io, images)
    )
    model = _model(content, scheme)
    _say(parity.foretold(len(opened.exam.labels), model.image_secs, PACKAGE))
    with artifact.writing(opened.folder) as hidden:
        test = _test(opened, model, _in_litert(opened, content, order, hidden))
        parity.Gate.of(scheme, max_accuracy_drop).check(test)
        facts = opened.facts() | tflite.describe(content, order, images)
        facts |= {"format": "micro", "test": test, **arenas(model, content, scheme)}
        facts["tflite_micro"] = importlib.metadata.version(PACKAGE)
        made = hidden / f"micro_{scheme.value}"
        made.mkdir()
        constants = _constants(opened, model, facts)
        text = c_source.header(content, constants)
        files.write_bytes(made / "model.h", text.encode())
        text = c_source.source(content, constants)
        files.write_bytes(made / "model.c", text.encode())
        return artifact.publish_folder(made, opened.folder / made.name, facts)


def _say(line: str | None) -> None:
    if line:
        print(line, file=sys.stderr, flush=True)


def _weights(opened: "Source", scheme: Scheme) -> str:
    """What can be said of the size before anything is converted."""
    count = sum(int(w.shape.num_elements()) for w in opened.network.weights)
    least = count * (4 if scheme is Scheme.FLOAT32 else 1)
    return f"micro_{scheme.value}: {count:,} weights, about {least:,} bytes of flash"


def arenas(model: "MicroModel", content: bytes, scheme: Scheme) -> dict[str, Any]:
    """What a manifest says of the arena, for each set of kernels."""
    from eval.graph import Graph
    from export import cmsis_nn

    own = model.arena_bytes
    extra = cmsis_nn.extra_bytes(Graph(content), _ACTIVATION_BYTES[scheme])
    needs = {kind: None if n is None else own + n for kind, n in extra.items()}
    return {
        "arena_bytes": own,
        "arena": {
            "reference": {"bytes": own, "measured": True},
            "cmsis_nn": {**needs, "measured": False},
        },
    }


def _model(content: bytes, scheme: Scheme) -> "MicroModel":
    """`content` in the smallest arena that it starts in; says what both take."""
    from export import micro_model

    try:
        with CONSOLE.phase("looking for the smallest arena"):
            model = micro_model.MicroModel(content)
    except RuntimeError as error:
        raise Failure(f"--scheme={scheme.value}: {error}") from error
    _say(
        f"micro_{scheme.value}: {len(content):,} bytes of flash for the model, an "
        f"arena of {model.arena_bytes:,} bytes with the reference kernels"
    )
    return model


def _in_litert(
    opened: "Source", content: bytes, order: tflite.Order, hidden: pathlib.Path
) -> "Predictor":
    """The same model in LiteRT."""
    from export import metadata

    path = hidden / "litert.tflite"
    described = tflite.description(opened, order)
    path.write_bytes(metadata.write(content, described, opened.exam.names))
    return tflite.predictor(path, order.kernels)


def _test(opened: "Source", model: "MicroModel", other: "Predictor") -> dict[str, Any]:
    """The "test" of the manifest, and how the answers differ from LiteRT's."""
    from eval import scores
    from eval.outputs import Output
    from eval.predictors import Predictor
    from export import parity

    own = Predictor(PACKAGE, model, Output.PROBABILITIES)
    answers = parity.ask(opened.exam, own, PACKAGE)
    theirs = parity.ask(opened.exam, other, "LiteRT")
    flips = int((scores.predictions(answers) != scores.predictions(theirs)).sum())
    return parity.compare(opened.exam, answers, own.floor) | {
        "engine": dict(model.engine),
        "litert": {
            "engine": dict(other.model.engine),
            "agreement": 1 - flips / len(answers),
            "flips": flips,
            "largest_difference": float(abs(answers - theirs).max()),
        },
    }


def _constants(
    opened: "Source", model: "MicroModel", facts: dict[str, Any]
) -> Constants:
    from export import metadata

    weights = facts["weights_sha256"][:12]
    return Constants(
        comment=f"{facts['scheme']} network, weights {weights}; see manifest.json",
        image_shape=opened.network.image_shape,
        input_is=f"input: {facts['io']['input_is']}",
        input=model.input,
        output=model.output,
        arena_bytes=model.arena_bytes,
        cmsis_nn_bytes=_most(facts["arena"]["cmsis_nn"]),
        labels=[metadata.one_line(label) for label in opened.exam.names],
    )


def _most(needs: dict[str, Any]) -> int | None:
    """What is enough with DSP and with MVE instructions; None if not known."""
    known = [needs["dsp"], needs["mve"]]
    return None if None in known else max(known)


def main(values: flags.FlagValues) -> None:
    """Exports the C source and says where it is."""
    source.check(values)
    if not installed():
        raise UsageError(
            f"export.micro proves its output with the package {PACKAGE}, which is not "
            f"installed;\npip install {PACKAGE}"
        )
    opened = source.open_source(values, folders=True)
    drop, kernels = values.max_accuracy_drop, tflite.kernels(values)
    made = export(opened, Scheme(values.scheme), drop, kernels)
    test, arena_bytes = made.manifest["test"], made.manifest["arena_bytes"]
    print(made.sentence())
    beside = test["litert"]
    cmsis = _most(made.manifest["arena"]["cmsis_nn"])
    print(
        f"arena {arena_bytes:,} bytes with the reference kernels (measured), "
        f"{'unknown' if cmsis is None else f'{cmsis:,}'} with CMSIS-NN's (computed); "
        f"{beside['agreement']:.2%} of answers as in "
        f"LiteRT, probabilities within {beside['largest_difference']:.4f}"
    )


if __name__ == "__main__":
    _values = define(flags.FlagValues())
    commandline.run(
        "export.micro",
        "Writes a run as C source for microcontrollers.",
        _values,
        lambda: main(_values),
    )
