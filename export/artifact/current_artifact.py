"""Finds the files that a run was exported to and that need no new export."""

import pathlib

from eval.formats import manifest as manifests
from eval.reports import exported_files
from export.artifact import artifact
from export.artifact.artifact import SAVED_MODEL, Artifact
from export.artifact.inputs import ExportInputs
from export.artifact.number_formats import Scheme, file_name, resolve_formats

# Fields of a "test" in addition to those that a report shows.
_TESTED = {"images", "sampled", "flips", "agreement_interval"}
_TESTED |= {"accuracy_drop", "accuracy_drop_interval"}


def load_current(inputs: ExportInputs, name: str) -> Artifact | None:
    """Loads the newest whole artifact of a format.

    None unless it is of these weights, data, temperature, labels and kernels.
    """
    kernels = None if name == SAVED_MODEL else inputs.verification.kernels.value
    for path in _candidates(inputs.folder, name):
        if made := load_of_run(inputs, path):
            return made if is_verified_alike(inputs, made, kernels) else None
    return None


def load_of_run(inputs: ExportInputs, path: pathlib.Path) -> Artifact | None:
    """Loads the artifact at `path` if it has the run's weights, data and labels."""
    images = f"{inputs.evaluated_on}_sha256"
    same = ("weights_sha256", images, "temperature", "labels")
    return artifact.load_matching(path, inputs.facts(), same)


def is_verified_alike(
    inputs: ExportInputs, made: Artifact, kernels: str | None
) -> bool:
    """Whether a file was run on as many images as here, with these kernels."""
    test = manifests.verification(made.manifest)
    if not _is_complete(test):  # of another version, or not one of ours
        return False
    same_images = test["images"] == len(inputs.verification_set.labels)
    return same_images and test["engine"].get("kernels") == kernels


def _candidates(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Lists possible paths of artifacts of a format, the newest first."""
    if name != SAVED_MODEL:
        scheme, io = resolve_formats(False, Scheme(name), None)
        return [folder / file_name(scheme, io)]
    found = (folder / SAVED_MODEL).glob("[0-9]*")
    versions = [path for path in found if path.name.isdecimal()]
    return sorted(versions, key=lambda path: int(path.name), reverse=True)


def _is_complete(test: object) -> bool:
    """Whether the "test" of a manifest has all fields that this release writes."""
    if not exported_files.has_test_results(test) or not test.keys() >= _TESTED:
        return False
    found = test.get("engine")
    return isinstance(found, dict) and found.keys() >= {"name", "delegate"}
