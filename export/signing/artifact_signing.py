"""Signs and verifies exported files and folders."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.formats import manifest as manifests
from eval.formats import model_signature
from export.artifact import artifact
from export.artifact.artifact import Artifact
from export.signing import materials
from trainer import files
from trainer.errors import InvalidInput
from trainer.storage import as_failure

_FOLDERS = ("saved_model/*", "web", "micro/*")


def find_artifacts(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files and folders with a manifest in the folder of exports, by name."""
    found = [*folder.glob("*.tflite"), *folder.glob("*.onnx")]
    found += [path for pattern in _FOLDERS for path in folder.glob(pattern)]
    return sorted(p for p in found if manifests.manifest_path(p).is_file())


def sign_artifacts(
    paths: Iterable[pathlib.Path], private_key: pathlib.Path
) -> list[pathlib.Path]:
    """Writes the list of materials and the signature of each; returns the signatures.

    Nothing is written unless all of them are as they were exported.

    Raises:
        InvalidInput: one is not, or has links inside, there is none, or the key cannot
            be used.
        TrainingFailed, PeerLost: the storage does not take the files.
    """
    model_signature.check_installed()
    listed = {path: _describe(_load(path)) for path in _check_any(paths)}
    model_signature.load_private_key(private_key)
    return [_sign(path, found, private_key) for path, found in listed.items()]


def _sign(
    path: pathlib.Path, listed: Mapping[str, Any], private_key: pathlib.Path
) -> pathlib.Path:
    """Writes the list of materials and the signature; a new list needs one to stay."""
    beside = model_signature.materials_path(path)
    signature, new = None, not beside.exists()
    try:
        files.write_json(beside, listed)
        signature = model_signature.sign(path, private_key)
    except OSError as error:
        raise as_failure(f"{path} cannot be signed", error) from error
    finally:
        if signature is None and new:
            files.delete(beside)
    return signature


def verify_artifacts(
    paths: Iterable[pathlib.Path], public_key: pathlib.Path
) -> list[pathlib.Path]:
    """Verifies each of `paths`; returns them.

    Raises:
        InvalidInput: one is not signed or was changed, there is none, or the key cannot
            be used.
    """
    checked = _check_any(paths)
    for path in checked:
        model_signature.verify(path, public_key, "public_key")
        _load(path)
    return checked


def _check_any(paths: Iterable[pathlib.Path]) -> Sequence[pathlib.Path]:
    found = list(paths)
    if not found:
        raise InvalidInput("there is no exported file; export.tflite makes one")
    for path in found:
        if not path.exists():
            raise InvalidInput(f"{path} does not exist")
        known = (manifests.manifest_path(path), model_signature.signature_path(path))
        if path.is_dir() and not any(each.exists() for each in known):
            raise InvalidInput(
                f"{path} is no exported folder: it has no {manifests.FILE};\nname an"
                " exported file or folder, or a run with `run_dir`"
            )
    return found


def _load(path: pathlib.Path) -> Artifact:
    made = artifact.load_artifact(path)
    if made is None:
        raise InvalidInput(
            f"{path} is not as it was exported: {manifests.manifest_path(path)} is"
            " missing or of other files; export it again"
        )
    return made


def _describe(made: Artifact) -> dict[str, Any]:
    """The list of materials of `made`, once it is clear that it can be signed."""
    path = made.path
    for name in (model_signature.signature_path, model_signature.materials_path):
        if name(path).is_dir():
            raise InvalidInput(
                f"{name(path)} is a folder; a signature is written there: move it away"
            )
    for each in model_signature.list_files(path):
        if each.is_symlink():
            raise InvalidInput(
                f"{path} cannot be signed: {each} is a link; put the file itself there"
            )
    try:
        return materials.describe_materials(made.manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"{path} cannot be signed: {manifests.manifest_path(path)} lacks what this"
            " release writes; export it again"
        ) from error
