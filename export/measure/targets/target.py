"""What a bench measures beside the formats, and whether it can here."""

import dataclasses
import enum
from collections.abc import Sequence

from trainer.errors import InvalidConfig

EVERY, NONE = "all", "none"  # words for a choice of targets


class Target(enum.Enum):
    """What a bench measures beside the formats."""

    COMPILED = "compiled"  # files in LiteRT's CompiledModel API
    LITERT = "litert"  # files of litert-quantizer
    ONNX = "onnx"  # in ONNX Runtime
    WEB = "web"  # the page, in a headless Chromium
    STANDALONE = "standalone"  # C, on this machine
    CORTEX_M4 = "cortex_m4"  # the same C, on an emulated microcontroller


class TargetMissing(Exception):
    """A target that is not measured; the message is the reason, a clause."""


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What a bench measures beside the formats.

    Attributes:
        targets: exported first if they are not there; None: those that are there.
    """

    targets: tuple[Target, ...] | None = None

    @classmethod
    def from_words(cls, words: Sequence[str] | None) -> "BenchOptions":
        """Converts names of targets, EVERY or NONE.

        Raises:
            InvalidConfig: there is no such target.
        """
        if words is None:
            return cls()
        named = [word.strip() for word in words if word.strip()]
        if named in ([EVERY], [NONE]):
            return cls(tuple(Target) if named == [EVERY] else ())
        known = [target.value for target in Target]
        wrong = [word for word in named if word not in known]
        if wrong or not named:
            given = f"targets={','.join(named)}" if named else "`targets` is empty and"
            raise InvalidConfig(
                f"{given} must be a list of {', '.join(known)}, or {EVERY} or {NONE}"
                " alone"
            )
        return cls(tuple(target for target in Target if target.value in named))

    def asks_for(self, target: Target) -> bool:
        """Whether `target` is to be exported if it is not there."""
        return self.targets is not None and target in self.targets

    def leaves_out(self, target: Target) -> bool:
        """Whether `target` is not to be measured in any case."""
        return self.targets is not None and target not in self.targets
