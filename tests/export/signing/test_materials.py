"""What a model was made with is a valid CycloneDX document."""

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from export.signing import materials
from tests.support.signed_exports import MANIFEST


def test_it_names_packages_data_and_teacher_with_their_hashes():
    found = materials.describe_materials(MANIFEST)
    model = found["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    named = {part["name"]: part for part in found["components"]}
    assert named["tensorflow"]["purl"] == "pkg:pypi/tensorflow@2.21.0"
    assert named["digits/1.0.0 train"]["hashes"][0]["content"] == "d" * 64
    assert named["other digits test"]["hashes"][0]["content"] == "f" * 64
    assert named["teacher"]["hashes"][0]["content"] == "b" * 64
    references = [part["bom-ref"] for part in found["components"]]
    assert len(set(references)) == len(references)
    assert found["dependencies"] == [{"ref": "model", "dependsOn": references}]


def test_it_is_the_same_each_time_and_needs_no_teacher():
    assert materials.describe_materials(MANIFEST) == materials.describe_materials(
        MANIFEST
    )
    alone = materials.describe_materials(
        MANIFEST | {"config": {"model": {"name": "a"}}}
    )
    assert "teacher" not in {part["name"] for part in alone["components"]}


def test_it_is_valid_by_the_schema():
    for manifest in (MANIFEST, untested()):
        text = json.dumps(materials.describe_materials(manifest))
        found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        assert found is None, found


def untested() -> dict:
    """The manifest of a run that was trained without a test."""
    return {key.replace("test", "validation", 1): v for key, v in MANIFEST.items()}


def test_without_a_test_it_names_the_validation_rows():
    found = materials.describe_materials(untested())
    assert "other digits test" in {part["name"] for part in found["components"]}
    card = found["metadata"]["component"]["modelCard"]
    (accuracy,) = card["quantitativeAnalysis"]["performanceMetrics"]
    assert accuracy["slice"] == "360 images of other digits test"
