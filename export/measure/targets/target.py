"""What a bench measures: formats and targets, chosen by their names."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence

from export.artifact.artifact import SAVED_MODEL
from export.artifact.number_formats import ROUNDED, Scheme
from trainer.errors import InvalidConfig
from trainer.rundir.layout import Run

CHECKPOINT = "checkpoint"
FORMATS = (CHECKPOINT, SAVED_MODEL, *(scheme.value for scheme in Scheme))
# Those that a run of `qat` does not have, since it was not trained for them.
NOT_ROUNDED = tuple(scheme.value for scheme in Scheme if scheme not in ROUNDED)
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
    """What a bench measures.

    Attributes:
        targets: exported first if they are not there; None: those that are there.
        formats: measured in addition to the checkpoint; None: all that the run has.
    """

    targets: tuple[Target, ...] | None = None
    formats: tuple[str, ...] | None = None

    @classmethod
    def from_words(
        cls, targets: Sequence[str] | None, formats: Sequence[str] | None = None
    ) -> "BenchOptions":
        """Converts names of targets, EVERY or NONE, and names of formats or EVERY.

        Raises:
            InvalidConfig: there is no such target or format.
        """
        names = tuple(target.value for target in Target)
        words = {EVERY: names, NONE: ()}
        found = _choose("targets", targets, names, words)
        return cls(
            None if found is None else tuple(map(Target, found)),
            _choose("formats", formats, FORMATS, {EVERY: None}),
        )

    def asks_for(self, target: Target) -> bool:
        """Whether `target` is to be exported if it is not there."""
        return self.targets is not None and target in self.targets

    def leaves_out(self, target: Target) -> bool:
        """Whether `target` is not to be measured in any case."""
        return self.targets is not None and target not in self.targets

    def measures(self, name: str) -> bool:
        """Whether a format is measured; the checkpoint is what others differ from."""
        return self.formats is None or name in (CHECKPOINT, *self.formats)

    def check_run(self, run: Run) -> None:
        """Checks that the run has the formats that are asked for.

        Raises:
            InvalidConfig: it is a run of `qat` without one of them.
        """
        wrong = [name for name in self.formats or () if name in NOT_ROUNDED]
        if wrong and run.config().model.qat:
            known = [name for name in FORMATS if name not in NOT_ROUNDED]
            raise InvalidConfig(
                f"formats={','.join(wrong)} is not for a run of `qat`, which was"
                f" trained for int8; use a list of {', '.join(known)}"
            )


def _choose(
    option: str,
    words: Sequence[str] | None,
    known: Sequence[str],
    alone: Mapping[str, tuple[str, ...] | None],
) -> tuple[str, ...] | None:
    """The `known` names among `words`, or what a word of `alone` means; None: default.

    Raises:
        InvalidConfig: a word is not known, or there is none.
    """
    if words is None:
        return None
    named = [word.strip() for word in words if word.strip()]
    if len(named) == 1 and named[0] in alone:
        return alone[named[0]]
    if not named or not set(named).issubset(known):
        given = f"{option}={','.join(named)}" if named else f"`{option}` is empty and"
        raise InvalidConfig(
            f"{given} must be a list of {', '.join(known)}, or {' or '.join(alone)}"
            " alone"
        )
    return tuple(name for name in known if name in named)
