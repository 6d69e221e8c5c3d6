"""Subject: what is to be evaluated, and what is known of it before it is opened."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from eval import enclosed, predictors
from eval import manifest as manifests
from eval.outputs import Output
from eval.pixels import InputRange
from eval.predictors import Predictor
from trainer import checkpoints, commandline, files, runs
from trainer.commandline import UsageError
from trainer.config import Config
from trainer.nested import misfit
from trainer.runs import Run


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run's checkpoint or a model file.

    Attributes:
        facts: name, kind, path, sha256 and step, as report.json shows them.
        dataset, data_dir: what it was trained on; None where that is unknown.
        trained_on: SHA-256 of those splits by name, {} if unknown.
        classes: their names in the order of its answers, None if unknown.
        image_shape: (H, W, C) that it was trained on, None if unknown.
        run: the run of a checkpoint, else None.
        final: whether it is the end of a finished run.
        manifest: what is said of a file, inside it and beside it, {} if nothing.
        open: makes the Predictor for images of a shape and a number of classes.
    """

    facts: dict[str, Any]
    dataset: str | None
    data_dir: str | None
    trained_on: dict[str, str]
    classes: tuple[str, ...] | None
    image_shape: tuple[int, ...] | None
    run: Run | None
    final: bool
    manifest: dict[str, Any]
    open: Callable[[tuple[int, int, int], int], Predictor]

    @property
    def name(self) -> str:
        """How it is called."""
        return self.facts["name"]


def of_run(run: Run, step: int | None = None) -> Subject:
    """A run's checkpoint at `step`, or the last of a finished run.

    Raises:
        UsageError: unfinished and no step, or no such or a damaged checkpoint.
    """
    last, shipped_sha256 = _finish(run)
    if step is None and last is None:
        raise UsageError(
            f"{run.path} has not finished; finish it with python -m trainer.main"
            f" --flagfile={run.path / 'flags.txt'} --run_dir={run.path},\n"
            "or give python -m eval.report one of its checkpoints as"
            f" --checkpoint=STEP: {_steps(run)}"
        )
    wanted = last if step is None else step
    recorded, config = run.recorded(), run.config()
    checkpoint = _checkpoint(run, wanted)
    own = checkpoint.weights_sha256
    if wanted == last and own != shipped_sha256:
        raise UsageError(
            f"{checkpoint.path} has weights {own[:12]}, but {run.path / 'result.json'}"
            f" is of {shipped_sha256[:12]}; one of them was replaced"
        )
    return Subject(
        facts={
            "name": run.path.name,
            "kind": "checkpoint",
            "path": str(checkpoint.path.relative_to(run.path.parent)),
            "sha256": own,
            "step": wanted,
        },
        dataset=config.data.dataset,
        data_dir=recorded.get("run", {}).get("data_dir"),
        **_learnt(run, recorded),
        run=run,
        final=wanted == last,
        manifest={},
        open=functools.partial(_predictor, run.path.name, config, checkpoint),
    )


def _predictor(
    name: str,
    config: Config,
    checkpoint: checkpoints.Checkpoint,
    shape: tuple[int, int, int],
    classes: int,
) -> Predictor:
    from eval.checkpoint import CheckpointModel
    from trainer import state

    weights = state.shipped(checkpoint.arrays)
    model = CheckpointModel(config, weights, shape, classes)
    return Predictor(name, model, Output.LOGITS)


def _finish(run: Run) -> tuple[int | None, str]:
    """Last step and weights_sha256 of a finished run, (None, "") of another."""
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
        raise UsageError(
            f"{run.path / 'result.json'} is damaged: {wrong}; move it away and name a"
            " step with --checkpoint"
        )
    return result["steps"], result["weights_sha256"]


def _checkpoint(run: Run, step: int) -> checkpoints.Checkpoint:
    path = checkpoints.folder(run.checkpoints, step)
    try:
        return checkpoints.read(path)
    except FileNotFoundError as error:
        raise UsageError(
            f"{run.path} has no checkpoint of step {step}; there are {_steps(run)}"
        ) from error
    except checkpoints.Damaged as error:
        raise UsageError(
            f"{path} is damaged: {error}; there are {_steps(run)}, see --checkpoint"
        ) from error


def _steps(run: Run) -> str:
    found = [p.name.removeprefix("step-") for p in checkpoints.listed(run.checkpoints)]
    return ", ".join(str(int(name)) for name in sorted(found)) or "none"


def _learnt(run: Run, recorded: dict[str, Any]) -> dict[str, Any]:
    """What config.json says of the data that was learnt from."""
    data = recorded.get("data", {})
    if not isinstance(data, dict):
        where = run.path / "config.json"
        raise UsageError(f"{where} is damaged: its data is no object")
    return {
        "trained_on": _hashes(data.get("sha256")),
        "classes": _tuple(data.get("labels")),
        "image_shape": _tuple(data.get("image_shape")),
    }


def _tuple(noted: Any) -> tuple | None:
    return tuple(noted) if isinstance(noted, list) and noted else None


def _dataset(config: dict[str, Any]) -> str | None:
    data = config.get("data")
    name = data.get("dataset") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def _hashes(noted: Any) -> dict[str, str]:
    return noted if isinstance(noted, dict) else {}


def of_file(
    path: pathlib.Path,
    output: Output = Output.AUTO,
    span: InputRange | None = None,
    **how: Any,
) -> Subject:
    """A `.tflite` file or SavedModel directory, also one not made here.

    What it says of itself inside counts as what its manifest says; `how` are the other
    choices of predictors.open_file.

    Raises:
        UsageError: there is none, it is damaged or no image classifier, or what is said
            of it contradicts itself.
    """
    manifest = enclosed.said(path, _manifest(path), tell=(ignored := []).append)
    predictor = predictors.open_file(path, output, span, said=manifest, **how)
    predictor.notes += ignored
    labels = _tuple(manifest.get("labels"))
    _check_width(path, labels, predictor.model.classes)
    recorded = _recorded_above(path)
    config = manifest.get("config") or recorded.get("config") or {}
    return Subject(
        facts={
            "name": path.name if path.suffix else "/".join(path.absolute().parts[-2:]),
            "kind": "tflite" if path.suffix == ".tflite" else "saved_model",
            "path": str(path),
            "sha256": _sha256(path),
            "step": manifest.get("step"),
        },
        dataset=_dataset(config),
        data_dir=recorded.get("run", {}).get("data_dir"),
        trained_on=_hashes(manifest.get("data_sha256")),
        classes=labels,
        image_shape=None,  # the file itself says what it takes
        run=None,
        final=False,
        manifest=manifest,
        open=lambda shape, classes: predictor,
    )


def _check_width(path: pathlib.Path, labels: tuple | None, width: int | None) -> None:
    if labels and width not in (None, len(labels)):
        raise UsageError(
            f"{path} answers {width} classes, and {len(labels)} are named inside it or"
            " by its manifest; one of them is of another file"
        )


def _recorded_above(path: pathlib.Path) -> dict[str, Any]:
    """config.json of the run that `path` lies in; {} where it lies in none.

    Other programs have files of that name, too.
    """
    for parent in path.absolute().parents:
        if Run(parent).exists:
            with contextlib.suppress(UsageError):
                recorded = Run(parent).recorded()
                parts = (recorded.get(part) for part in ("config", "run", "data"))
                if all(isinstance(part, dict) for part in parts):
                    return recorded
    return {}


def _manifest(path: pathlib.Path) -> dict[str, Any]:
    """What is said beside the file; {} where nothing of ours is.

    Raises:
        UsageError: it is said of another file.
    """
    place = manifests.place(path)
    try:
        found = files.read_json(place)
    except (OSError, ValueError):
        return {}
    if not enclosed.sound(found):
        return {}
    if not found.get("files") and "sha256" not in found:
        return found  # it makes no claim to a file's bytes
    try:
        parts = manifests.parts(path, found)
    except ValueError as error:
        raise _unfit(place, path, f" ({error})") from error
    for file, part in parts.items():
        noted = part.get("sha256") if isinstance(part, dict) else None
        if not file.is_file() or manifests.sha256(file) != noted:
            raise _unfit(place, file)
    return found


def _unfit(place: pathlib.Path, file: pathlib.Path, why: str = "") -> UsageError:
    return UsageError(
        f"{place} is of another file than {file}{why}; put its own beside it, or "
        "move it away to have the file evaluated as a foreign one"
    )


def _sha256(path: pathlib.Path) -> str:
    """Of a file, or over names and contents of all files of a directory."""
    if path.is_file():
        return manifests.sha256(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0".encode())
        digest.update(bytes.fromhex(manifests.sha256(file)))
    return digest.hexdigest()


def distinct(subjects: Sequence[Subject]) -> list[Subject]:
    """`subjects` under names that differ: as much of their paths as that takes.

    The same thing named twice is numbered.
    """
    paths = [
        one.run.path if one.run else pathlib.Path(one.facts["path"]).absolute()
        for one in subjects
    ]
    names = dict(zip(paths, (one.name for one in subjects), strict=True))
    for parts in range(2, max(len(path.parts) for path in paths) + 1):
        taken = list(names.values())
        for path, name in names.items():
            if taken.count(name) > 1:
                names[path] = str(pathlib.Path(*path.parts[-parts:]))
    named = []
    for place, (one, path) in enumerate(zip(subjects, paths, strict=True)):
        number = f" ({paths[:place].count(path) + 1})" if paths.count(path) > 1 else ""
        facts = one.facts | {"name": f"{names[path]}{number}"}
        named.append(dataclasses.replace(one, facts=facts))
    return named


def find(word: str, output: Output, span: InputRange | None, **how: Any) -> Subject:
    """What a word on the command line means: a run directory or a model file."""
    path = commandline.place("model", word)
    if Run(path).exists:
        return of_run(runs.find(str(path)))
    return of_file(path, output, span, **how)
