"""Writes a run as a page that classifies pictures in a browser, offline.

The page holds the `.tflite`, some test images and the answers that LiteRT gives to them
here, so that a browser can show whether it gives the same answers.
"""

import pathlib
import shutil
from typing import Any

import numpy as np

from eval.formats import manifest as manifests
from eval.predictors.engine import Kernels
from export.artifact import answer_thresholds, artifact, current_artifact, verification
from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import ExportInputs, open_inputs
from export.artifact.number_formats import Io
from export.browser import litert_js
from export.browser.page_options import PageOptions
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from trainer import files
from trainer.data import sampler
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE

FOLDER = "web"  # in the folder of exports
IMAGES, ANSWERS, GALLERY = "images.bin", "answers.bin", "gallery.json"
_STATIC = pathlib.Path(__file__).parent / "static"
_KEPT = ("scheme", "io", "operators", "multiply_accumulates", "min_runtime_version")
_KEPT += answer_thresholds.KEYS


def export_page(
    request: ExportRequest, options: PageOptions, runtime: dict[str, bytes]
) -> Artifact:
    """Opens the run of `request` and writes it as a page, see `write_page`."""
    return write_page(open_inputs(request), options, runtime)


def write_page(
    inputs: ExportInputs, options: PageOptions, runtime: dict[str, bytes]
) -> Artifact:
    """Writes the page into the folder of exports, replacing an older one.

    The `.tflite` of this run beside it is copied; it is exported if it is not there.

    Args:
        runtime: the files of LiteRT.js, from `litert_js.load_runtime`.

    Raises:
        InvalidInput: calibration images are needed and cannot be had, or what is no
            page has its name.
        TrainingFailed: the network misses its gate, or the page cannot be written.
    """
    final = inputs.folder / FOLDER
    artifact.check_replaceable_folder(final)
    model = _load_or_export(inputs, options)
    with artifact.staging_folder(inputs.folder) as folder:
        path = folder / FOLDER
        path.mkdir()
        _copy_static(path, runtime)
        files.write_bytes(path / model.path.name, model.path.read_bytes())
        page = _write_images(inputs, options, path / model.path.name)
        verified = manifests.verification(model.manifest)
        facts = inputs.facts() | {"format": "web", inputs.evaluated_on: verified}
        facts |= {key: model.manifest[key] for key in _KEPT}
        facts["page"] = page | {
            "model": model.path.name,
            "runtime": litert_js.describe_runtime(),
        }
        return artifact.publish_folder(path, final, facts)


def _load_or_export(inputs: ExportInputs, options: PageOptions) -> Artifact:
    """Loads the verified `.tflite` of this run, or exports it."""
    made = current_artifact.load_current(inputs, options.scheme.value)
    if made is None or "abstain" not in made.manifest:  # of an older release
        formats = TFLiteOptions(options.scheme, Io.UINT8)
        return tflite_writer.write_tflite(inputs, formats)
    drop = inputs.verification.max_accuracy_drop  # it may have had another limit
    gate = verification.Gate.for_scheme(options.scheme, drop)
    gate.enforce(manifests.verification(made.manifest))
    return made


def _copy_static(path: pathlib.Path, runtime: dict[str, bytes]) -> None:
    (path / litert_js.FOLDER).mkdir()
    for source in sorted(_STATIC.iterdir()):
        if source.is_file():
            shutil.copyfile(source, path / source.name)
    for name, content in runtime.items():
        files.write_bytes(path / litert_js.FOLDER / name, content)
    license_file = path / "LICENSE-2.0.txt"
    license_file.rename(path / litert_js.FOLDER / license_file.name)


def _write_images(
    inputs: ExportInputs, options: PageOptions, model: pathlib.Path
) -> dict[str, Any]:
    """Writes test images and LiteRT's answers; returns their part of the manifest."""
    shown = inputs.verification_set
    total = len(shown.labels)
    count = options.count_images(total, int(np.prod(inputs.network.image_shape)))
    rows = sampler.spread_rows(total, count)
    images = shown.images if count == total else shown.images[rows]
    predictor = tflite_writer.open_predictor(model, Kernels.XNNPACK)
    with CONSOLE.count(count, "answers for the page") as tick:
        answers = predictor(images, tick).astype("<f4")
    if not np.isfinite(answers).all():
        raise TrainingFailed(f"{model.name} gives answers that are not finite")
    files.write_bytes(model.parent / IMAGES, np.ascontiguousarray(images).tobytes())
    files.write_bytes(model.parent / ANSWERS, answers.tobytes())
    gallery = {"labels": shown.labels[rows].tolist(), "rows": rows.tolist()}
    files.write_json(model.parent / GALLERY, gallery)
    return {
        "images": count,
        "engine": dict(predictor.model.engine),
        "output_step": predictor.model.step,
    }
