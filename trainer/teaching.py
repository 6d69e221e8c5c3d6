"""TeacherConfig: whose answers a run learns from besides the labels."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Distillation (Hinton et al. 2015).

    The teacher is named by the hash of its weights, which decide the numbers, and not
    by its directory, which is of one machine.

    Attributes:
        weights_sha256: of the teacher's result.json.
        weight: part of the loss that is the teacher's; the labels have the rest.
        temperature: what logits are divided by before they are compared.
    """

    weights_sha256: str
    weight: float = 0.9
    temperature: float = 2.0

    def __post_init__(self) -> None:
        check(self.weight, self.temperature)
        if not re.fullmatch(r"[0-9a-f]{64}", self.weights_sha256):
            raise ValueError(f"--teacher: {self.weights_sha256!r} is no SHA-256")


def check(weight: float, temperature: float) -> None:
    """Raises ValueError unless both are in range."""
    if not 0 <= weight <= 1:
        raise ValueError(f"--teacher_weight={weight} must be within 0 to 1")
    if not 0.1 <= temperature <= 100:
        raise ValueError(
            f"--teacher_temperature={temperature} must be within 0.1 to 100"
        )
