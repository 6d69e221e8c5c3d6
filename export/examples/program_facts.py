"""What a program must know of a model: its classes, pixels, numbers and origin."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from eval.formats import manifest as manifests
from export.artifact.number_formats import Io
from export.examples.literals import shown_name

TARGET = "0.95"  # selective accuracy of the threshold in programs


@dataclasses.dataclass(frozen=True)
class ProgramFacts:
    """The part of a manifest that programs are made from.

    Attributes:
        labels: names of the classes as they are printed.
        shape: height, width and channels.
        resize: what happens to pictures of another shape.
        input, output: types of the two tensors.
        input_scale: of an int16 input.
        output_quantization: scale and zero point; (1.0, 0) of a float output.
        threshold: least probability of an answer; None: the model has no threshold of
            TARGET, so programs give every answer and say so.
        origin: one line on what the model is and how good.
    """

    labels: tuple[str, ...]
    shape: tuple[int, int, int]
    resize: str
    input: Io
    output: Io
    input_scale: float
    output_quantization: tuple[float, int]
    threshold: float | None
    origin: str

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "ProgramFacts":
        """Collects them from a manifest, which may lack its header."""
        ends = manifest["io"]
        scale = ends.get("output_scale") or 1.0
        return cls(
            labels=tuple(map(shown_name, manifest["labels"])),
            shape=tuple(manifest["image_shape"]),
            resize=manifest["preprocessing"]["resize"],
            input=Io(ends["input"]),
            output=Io(ends["output"]),
            input_scale=ends.get("input_scale") or 1.0,
            output_quantization=(scale, ends.get("output_zero_point") or 0),
            threshold=_find_threshold(manifest),
            origin=_describe_origin(manifest),
        )

    def threshold_values(self) -> dict[str, str]:
        """The number of a program's threshold, and the comment beside it."""
        share = f"{float(TARGET):.0%}".replace("%", " %")
        if self.threshold is None:
            return {
                "threshold": "0.0",
                "abstains": f"no threshold promises {share} right answers: all given",
            }
        return {
            "threshold": repr(self.threshold),
            "abstains": f'below it "unknown": {share} of the answers are right',
        }


def _find_threshold(manifest: Mapping[str, Any]) -> float | None:
    """The threshold of TARGET; None where the manifest has none."""
    entry = (manifest.get("abstain") or {}).get(TARGET) or {}
    found = entry.get("threshold")
    return None if found is None else float(found)


def _describe_origin(manifest: Mapping[str, Any]) -> str:
    test = manifests.verification(manifest)
    low, high = test["accuracy_interval"]
    engine = test.get("engine") or {}
    by = [engine[key] for key in ("name", "version", "kernels") if engine.get(key)]
    return (
        f"{manifest['config']['model']['name']} trained on {manifest['data']},"
        f" {manifest['scheme']}, weights {manifest['weights_sha256'][:12]}:"
        f" {test['accuracy']:.2%} (95 %: {low:.2%} to {high:.2%}) of"
        f" {test['images']:,} {test['split']} images right, by {' '.join(map(str, by))}"
    )
