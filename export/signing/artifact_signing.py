"""Signs and verifies exported files and folders."""

import pathlib
from collections.abc import Iterable, Sequence

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
        InvalidInput: one is not, there is none, or the key cannot be used.
        TrainingFailed, PeerLost: the storage does not take the files.
    """
    model_signature.check_installed()
    found = [_load(path) for path in _check_any(paths)]
    model_signature.load_private_key(private_key)
    made = []
    for one in found:
        path = model_signature.materials_path(one.path)
        try:
            files.write_json(path, materials.describe_materials(one.manifest))
            made.append(model_signature.sign(one.path, private_key))
        except OSError as error:
            raise as_failure(f"{one.path} cannot be signed", error) from error
    return made


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
    return found


def _load(path: pathlib.Path) -> Artifact:
    made = artifact.load_artifact(path)
    if made is None:
        raise InvalidInput(
            f"{path} is not as it was exported: {manifests.manifest_path(path)} is"
            " missing or of other files; export it again"
        )
    return made
