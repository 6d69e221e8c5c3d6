"""ModelSource: a run or a model file, with its description."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from eval.formats import embedded, model_signature
from eval.formats import manifest as manifests
from eval.predictors import model_files
from eval.predictors.file_options import DEFAULT_OPTIONS, FileOptions
from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from eval.predictors.run_predictor import CheckpointModel
from trainer import errors, files
from trainer.config import parsing
from trainer.config.schema import Config, DataConfig
from trainer.config.serialization import misfit
from trainer.data.split import IMAGE_DIR, IMAGE_LIST
from trainer.data.store.request import FilesRequest
from trainer.errors import InvalidInput
from trainer.rundir import checkpoints, finished, layout
from trainer.rundir.layout import Run
from trainer.rundir.weights import eval_weights

_KINDS = {".tflite": "tflite", ".onnx": "onnx"}


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A run's checkpoint or a model file.

    Attributes:
        facts: name, kind, path, sha256 and step, as in report.json.
        dataset, data_dir: the training data; None if unknown.
        image_files: how image files become its pixels, and which ones it was trained
            on; None if unknown.
        resized: what brought a data set to other pixels than its own; None: nothing.
        trained_on: SHA-256 of its splits by name, {} if unknown.
        tested: whether its training was tested; True if unknown.
        validation_fraction: what part of each class it held out; None if unknown.
        classes: class names in the order of the outputs, None if unknown.
        image_shape: (H, W, C) of the training images, None if unknown.
        run: the run of a checkpoint, otherwise None.
        final: whether it is the last checkpoint of a finished run.
        manifest: the description of a file, inside and beside it, {} if none.
        open: opens the Predictor for an image shape and a number of classes.
    """

    facts: dict[str, Any]
    dataset: str | None
    data_dir: str | None
    image_files: FilesRequest | None
    resized: DataConfig | None
    trained_on: dict[str, str]
    tested: bool
    validation_fraction: float | None
    classes: tuple[str, ...] | None
    image_shape: tuple[int, ...] | None
    run: Run | None
    final: bool
    manifest: dict[str, Any]
    open: Callable[[tuple[int, int, int], int], Predictor]

    @property
    def name(self) -> str:
        """The name in reports and messages."""
        return self.facts["name"]


def from_run(run: Run, step: int | None = None) -> ModelSource:
    """Describes the checkpoint of a run at `step`, or the last of a finished run.

    Raises:
        InvalidInput: `step` is None and the run is unfinished, or the checkpoint is
            missing or damaged.
    """
    last, shipped_sha256 = _final_step(run)
    if step is None and last is None:
        finished.check_finished(run, checkpoints_too=True)
    wanted = last if step is None else step
    recorded, config = run.recorded(), run.config()
    checkpoint = _checkpoint(run, wanted)
    own = checkpoint.weights_sha256
    if wanted == last and own != shipped_sha256:
        raise InvalidInput(
            f"{checkpoint.path} has weights {own[:12]}, but {run.path / 'result.json'}"
            f" is of {shipped_sha256[:12]}; one of them was replaced"
        )
    return ModelSource(
        facts={
            "name": run.path.name,
            "kind": "checkpoint",
            "path": str(checkpoint.path.relative_to(run.path.parent)),
            "sha256": own,
            "step": wanted,
        },
        dataset=config.data.dataset,
        data_dir=recorded.get("run", {}).get("data_dir"),
        **_training_data(run, recorded),
        tested=_was_tested(run, recorded),
        validation_fraction=config.data.validation_fraction,
        run=run,
        final=wanted == last,
        manifest={},
        open=functools.partial(_open_checkpoint, run.path.name, config, checkpoint),
    )


def _was_tested(run: Run, recorded: dict[str, Any]) -> bool:
    """Whether a run was tested, or will be when it has finished."""
    if (result := run.result()) is not None:
        return layout.was_tested(result)
    return recorded.get("run", {}).get("test") is not False


def _open_checkpoint(
    name: str,
    config: Config,
    checkpoint: checkpoints.Checkpoint,
    shape: tuple[int, int, int],
    classes: int,
) -> Predictor:
    weights = eval_weights(checkpoint.arrays)
    model = CheckpointModel(config, weights, shape, classes)
    return Predictor(name, model, Output.LOGITS)


def _final_step(run: Run) -> tuple[int | None, str]:
    """Reads last step and weights_sha256 of a run; (None, "") if unfinished."""
    result = run.result()
    if result is None:
        return None, ""
    wrong = misfit(result, {"finished": bool})
    if wrong is None and not result["finished"]:
        return None, ""
    wrong = wrong or misfit(result, {"steps": int, "weights_sha256": str})
    if wrong is None and not 0 <= result["steps"] < 10**12:
        wrong = f"its steps are {result['steps']:.3g}"
    if wrong is not None:
        raise InvalidInput(
            f"{run.path / 'result.json'} is damaged: {wrong}; move it away and name a"
            " step with `checkpoint`"
        )
    return result["steps"], result["weights_sha256"]


def _checkpoint(run: Run, step: int) -> checkpoints.Checkpoint:
    path = checkpoints.step_folder(run.checkpoints, step)
    try:
        return checkpoints.load(path)
    except FileNotFoundError as error:
        raise InvalidInput(
            f"{run.path} has no checkpoint of step {step}; there are {_steps(run)};\n"
            "restore it from a copy, or train the run again"
        ) from error
    except errors.CorruptCheckpoint as error:
        raise InvalidInput(
            f"{path} is damaged: {error}; there are {_steps(run)}, see `checkpoint`"
        ) from error


def _steps(run: Run) -> str:
    return ", ".join(map(str, finished.list_steps(run))) or "none"


def _training_data(run: Run, recorded: dict[str, Any]) -> dict[str, Any]:
    """Reads the description of the training data in config.json."""
    data = recorded.get("data", {})
    if not isinstance(data, dict):
        where = run.path / "config.json"
        raise InvalidInput(f"{where} is damaged: its data is not an object")
    return {
        "image_files": (files := FilesRequest.from_recorded(recorded)),
        "resized": _resizing(recorded.get("config"), files),
        "trained_on": _hashes(data.get("sha256")),
        "classes": _tuple(data.get("labels")),
        "image_shape": _tuple(data.get("image_shape")),
    }


def _tuple(value: object) -> tuple | None:
    return tuple(value) if isinstance(value, list) and value else None


def _training_rows(manifest: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """What a file says about the splits of its training."""
    data = config.get("data")
    found = data.get("validation_fraction") if isinstance(data, dict) else None
    return {
        "trained_on": _hashes(manifest.get("data_sha256")),
        "tested": manifest.get("run_tested") is not False,
        "validation_fraction": float(found) if isinstance(found, int | float) else None,
    }


def _dataset_name(config: dict[str, Any]) -> str | None:
    data = config.get("data")
    name = data.get("dataset") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def _hashes(value: object) -> dict[str, str]:
    return value if isinstance(value, dict) else {}


def from_file(
    path: pathlib.Path, options: FileOptions = DEFAULT_OPTIONS
) -> ModelSource:
    """Describes a `.tflite`, ONNX or SavedModel file, also one of other tools.

    The description inside the file counts like its manifest.

    Raises:
        InvalidInput: the file is missing, damaged or not an image classifier, or its
            descriptions contradict each other.
    """
    signature = model_signature.describe(path, options.require_signed)
    manifest = embedded.load_description(
        path, _load_manifest(path), warn=(ignored := []).append
    )
    predictor = model_files.open_file(path, options, manifest)
    predictor.notes += ignored + _note_signature(path, signature, options)
    labels = _tuple(manifest.get("labels"))
    _check_class_count(path, labels, predictor.model.classes)
    recorded = _load_run_above(path)
    config = manifest.get("config") or recorded.get("config") or {}
    return ModelSource(
        facts=_describe_file(path, manifest) | {"signature": signature},
        dataset=_dataset_name(config),
        data_dir=recorded.get("run", {}).get("data_dir"),
        image_files=(found := _image_files(manifest, recorded, predictor.model.shape)),
        resized=_resizing(config, found),
        **_training_rows(manifest, config),
        classes=labels,
        image_shape=None,  # the file itself defines its input
        run=None,
        final=False,
        manifest=manifest,
        open=lambda shape, classes: predictor,
    )


def refuse_unsigned_run(path: pathlib.Path, options: FileOptions) -> None:
    """Checks that no signature is required of the run at `path`.

    Raises:
        InvalidInput: one is: nobody signs checkpoints.
    """
    if options.require_signed is not None:
        raise InvalidInput(
            f"require_signed={options.require_signed} is for exported files; {path} is"
            " a run, whose checkpoints are not signed"
        )


def _describe_file(path: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": path.name if path.suffix else "/".join(path.absolute().parts[-2:]),
        "kind": _KINDS.get(path.suffix, "saved_model"),
        "path": str(path),
        "sha256": _sha256(path),
        "step": manifest.get("step"),
    }


def _note_signature(
    path: pathlib.Path, signature: str, options: FileOptions
) -> list[str]:
    """A line on the signature of `path`; none if it has none."""
    match signature:
        case "verified":
            return [f"{path.name}: as the owner of {options.require_signed} signed it"]
        case "not verified":
            return [f"{path.name} is signed; require_signed=KEY.pub verifies it"]
    return []


def _resizing(config: object, files: FilesRequest | None) -> DataConfig | None:
    """The options by which a data set was resized, at the size that was recorded."""
    try:
        data = config["data"]
        asked = data["image_size"] is not None or data["channels"] is not None
        if files is None or not (asked or data["dataset"] in (IMAGE_DIR, IMAGE_LIST)):
            return None
    except (KeyError, TypeError):
        return None
    return DataConfig(
        image_size=files.image_size, channels=files.channels, resize=files.resize
    )


def _image_files(
    manifest: dict[str, Any], recorded: dict[str, Any], shape: tuple[int | None, ...]
) -> FilesRequest | None:
    """How image files become the pixels of a file that takes images of `shape`."""
    told = {
        "config": manifest.get("config") or recorded.get("config"),
        "run": recorded.get("run", {}),
        "data": {"preprocessing": manifest.get("preprocessing")},
    }
    found = FilesRequest.from_recorded(told) or FilesRequest.from_recorded(recorded)
    if found is None and len(shape) == 3 and all(shape):
        height, width, channels = shape
        return FilesRequest(image_size=(height, width), channels=channels)
    return found


def _check_class_count(
    path: pathlib.Path, labels: tuple | None, width: int | None
) -> None:
    if labels and width not in (None, len(labels)):
        raise InvalidInput(
            f"{path} gives {width} classes, but {len(labels)} are named inside it or"
            " by its manifest; one of them belongs to another file"
        )


def _load_run_above(path: pathlib.Path) -> dict[str, Any]:
    """Loads config.json of the run that contains `path`; {} if there is none.

    Files of that name from other programs are ignored.
    """
    for parent in path.absolute().parents:
        if Run(parent).exists:
            with contextlib.suppress(InvalidInput):
                recorded = Run(parent).recorded()
                parts = (recorded.get(part) for part in ("config", "run", "data"))
                if all(isinstance(part, dict) for part in parts):
                    return recorded
    return {}


def _load_manifest(path: pathlib.Path) -> dict[str, Any]:
    """Loads our manifest beside the file; {} if there is none.

    Raises:
        InvalidInput: it belongs to another file.
    """
    manifest_path = manifests.manifest_path(path)
    try:
        found = files.read_json(manifest_path)
    except (OSError, ValueError):
        return {}
    if not embedded.is_manifest(found):
        return {}
    if not found.get("files") and "sha256" not in found:
        return found  # it has no hash to compare
    try:
        parts = manifests.file_hashes(path, found)
    except ValueError as error:
        raise _foreign_manifest(manifest_path, path, f" ({error})") from error
    for file, part in parts.items():
        value = part.get("sha256") if isinstance(part, dict) else None
        if not file.is_file() or manifests.file_sha256(file) != value:
            raise _foreign_manifest(manifest_path, file)
    return found


def _foreign_manifest(
    manifest_path: pathlib.Path, file: pathlib.Path, why: str = ""
) -> InvalidInput:
    return InvalidInput(
        f"{manifest_path} belongs to another file than {file}{why}; restore its own"
        " manifest, or move this one away to evaluate the file without it"
    )


def _sha256(path: pathlib.Path) -> str:
    """Computes the SHA-256 of a file, or of all names and files of a directory."""
    if path.is_file():
        return manifests.file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0".encode())
        digest.update(bytes.fromhex(manifests.file_sha256(file)))
    return digest.hexdigest()


def rename_apart(sources: Sequence[ModelSource]) -> list[ModelSource]:
    """Gives `sources` distinct names by adding parts of their paths.

    Names of the same path get numbers.
    """
    paths = [
        one.run.path if one.run else pathlib.Path(one.facts["path"]).absolute()
        for one in sources
    ]
    names = dict(zip(paths, (one.name for one in sources), strict=True))
    for parts in range(2, max(len(path.parts) for path in paths) + 1):
        taken = list(names.values())
        for path, name in names.items():
            if taken.count(name) > 1:
                names[path] = str(pathlib.Path(*path.parts[-parts:]))
    named = []
    for n, (one, path) in enumerate(zip(sources, paths, strict=True)):
        number = f" ({paths[:n].count(path) + 1})" if paths.count(path) > 1 else ""
        facts = one.facts | {"name": f"{names[path]}{number}"}
        named.append(dataclasses.replace(one, facts=facts))
    return named


def from_path(name: str, options: FileOptions = DEFAULT_OPTIONS) -> ModelSource:
    """Describes the last checkpoint of the run `name`, or the model file `name`.

    Raises:
        InvalidInput: see `from_run` and `from_file`.
    """
    path = parsing.parse_path("model", name)
    if Run(path).exists:
        refuse_unsigned_run(path, options)
        return from_run(layout.open_run(str(path)))
    return from_file(path, options)
