"""The list of what a model was made with: CycloneDX 1.6 as JSON, without a library.

https://cyclonedx.org/docs/1.6/json/: the model with its card, the packages that
exported it, its data sets and its teacher, each with its SHA-256 where there is one.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from eval.formats import manifest as manifests

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # of URLs, RFC 9562
_SPEC = "1.6"


def describe_materials(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Formats the list for an artifact with `manifest`; the same each time."""
    data = _describe_data(manifest)
    parts = [*_describe_packages(manifest), *data, *_describe_teacher(manifest)]
    serial = uuid.uuid5(_NAMESPACE, f"{manifest['file']} {manifest['sha256']}")
    created = manifest["created"].removesuffix(" UTC").replace(" ", "T") + "Z"
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{_SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"timestamp": created, "component": _describe_model(manifest)},
        "components": parts,
        "dependencies": [
            {"ref": "model", "dependsOn": [part["bom-ref"] for part in parts]}
        ],
    }


def _describe_model(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The model with its card."""
    test, ends = manifests.verification(manifest), manifest["io"]
    low, high = test["accuracy_interval"]
    accuracy = {
        "type": "accuracy",
        "value": str(test["accuracy"]),
        "slice": f"{test['images']} images of {_find_judge(manifest)[0]}",
        "confidenceInterval": {"lowerBound": str(low), "upperBound": str(high)},
    }
    facts = {
        "weights_sha256": manifest["weights_sha256"],
        "run": manifest["run"],
        "step": manifest["step"],
        "scheme": manifest["scheme"],
        "temperature": manifest["temperature"],
    }
    parameters = {
        "task": "image classification",
        "modelArchitecture": manifest["config"]["model"]["name"],
        "datasets": [{"ref": part["bom-ref"]} for part in _describe_data(manifest)],
        "inputs": [{"format": f"{ends['input']} {manifest['image_shape']}"}],
        "outputs": [{"format": f"{ends['output']} {ends['output_is']}"}],
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": manifest["file"],
        "version": manifest["weights_sha256"][:12],
        "hashes": [_sha256(manifest["sha256"])],
        "modelCard": {
            "modelParameters": parameters,
            "quantitativeAnalysis": {"performanceMetrics": [accuracy]},
        },
        "properties": [
            {"name": name, "value": str(value)} for name, value in facts.items()
        ],
    }


def _describe_packages(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
        }
        for name, version in sorted(manifest["packages"].items())
    ]


def _describe_data(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The splits that it was trained and tested on."""
    splits = {
        f"{manifest['data']} {split}": sha256
        for split, sha256 in sorted(manifest["data_sha256"].items())
    }
    splits |= [_find_judge(manifest)]
    return [
        {
            "type": "data",
            "bom-ref": f"data:{number}",
            "name": name,
            "hashes": [_sha256(sha256)],
            "data": [{"type": "dataset", "name": name}],
        }
        for number, (name, sha256) in enumerate(splits.items(), 1)
    ]


def _find_judge(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Name and SHA-256 of the images that it was verified on: of a test, or not."""
    kind = "test" if "test_data" in manifest else "validation"
    name = f"{manifest[f'{kind}_data']} {manifest[f'{kind}_split']}"
    return name, manifest[f"{kind}_sha256"]


def _describe_teacher(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    sha256 = manifest["config"].get("distillation", {}).get("teacher_sha256")
    if sha256 is None:
        return []
    name, hashes = "teacher", [_sha256(sha256)]
    part = {"type": "machine-learning-model", "bom-ref": name, "name": name}
    return [part | {"hashes": hashes}]


def _sha256(value: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": value}
