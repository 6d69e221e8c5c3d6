"""Enums of configs and flags."""

import enum


class Strategy(enum.Enum):
    """Distribution of a step over replicas."""

    ONE_DEVICE = "one_device"
    MIRRORED = "mirrored"  # all GPUs of this process, or its logical devices
    MULTI_WORKER = "multi_worker"  # the processes that TF_CONFIG lists


class Augment(enum.Enum):
    """Flips and crops of the training images.

    A property lists the members that have it: a new member has none until it is listed.
    """

    NONE = "none"
    FLIP = "flip"
    FLIP_CROP = "flip_crop"
    FLIP_CROP_CUTOUT = "flip_crop_cutout"
    CROP = "crop"  # for what may not be mirrored, such as digits
    RESIZED_CROP = "resized_crop"  # the same, for photographs
    FLIP_RESIZED_CROP = "flip_resized_crop"

    @property
    def mirrors(self) -> bool:
        """Whether half of the images are mirrored."""
        return self in (
            Augment.FLIP,
            Augment.FLIP_CROP,
            Augment.FLIP_CROP_CUTOUT,
            Augment.FLIP_RESIZED_CROP,
        )

    @property
    def crops(self) -> bool:
        """Whether images are shifted by up to `crop_pixels`."""
        return self in (Augment.CROP, Augment.FLIP_CROP, Augment.FLIP_CROP_CUTOUT)

    @property
    def resizes(self) -> bool:
        """Whether a part of random area is resized to the whole image."""
        return self in (Augment.RESIZED_CROP, Augment.FLIP_RESIZED_CROP)

    @property
    def countable(self) -> bool:
        """Whether it can give a finite, small number of views of an image."""
        return self in (Augment.NONE, Augment.FLIP, Augment.CROP, Augment.FLIP_CROP)


class Input(enum.Enum):
    """Where the images of a step are before it."""

    AUTO = "auto"
    DEVICE = "device"  # all of the training split, on every device
    HOST = "host"  # in memory or in a mapped file, read by a thread


class Resize(enum.Enum):
    """How an image of another shape is brought to the size of the training images."""

    CROP = "crop"  # the shorter side fits, the middle of the longer one stays
    LETTERBOX = "letterbox"  # all of it, with grey above and below or beside it
    SQUASH = "squash"  # stretched


class Flip(enum.Enum):
    """Which images of an epoch are mirrored, if augmentation mirrors images."""

    RANDOM = "random"
    ALTERNATING = "alternating"  # half of them, the other half in the next epoch


class OptimizerName(enum.Enum):
    """SGD with Nesterov momentum, Adam with decoupled weight decay, or Muon."""

    SGD = "sgd"
    ADAMW = "adamw"
    MUON = "muon"  # orthogonal updates for convolutions, SGD for everything else


class Schedule(enum.Enum):
    """Shape of the learning rate after warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    PIECEWISE = "piecewise"  # a tenth after 1/2 and again after 3/4 of the steps
    TRIANGLE = "triangle"  # one cycle: up in the warm-up, down to zero in the rest


class Precision(enum.Enum):
    """Keras dtype policy of the training step; evaluation is always float32."""

    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"
    MIXED_FLOAT16 = "mixed_float16"
    FLOAT64 = "float64"  # slow: makes rounding negligible when replicas are compared


class Resume(enum.Enum):
    """What to do with a run directory that contains checkpoints."""

    AUTO = "auto"
    NEVER = "never"
    MUST = "must"


class EvalTta(enum.Enum):
    """Which views of an image an evaluation averages over: test-time augmentation."""

    NONE = "none"
    FLIP = "flip"  # the image and its mirror
    FLIP_SHIFT = "flip_shift"  # these, and both moved by a pixel to either side
    SHIFT = "shift"  # the image, and it moved so: for digits and text

    @property
    def mirrors(self) -> bool:
        """Whether there is a mirrored view beside each."""
        return self in (EvalTta.FLIP, EvalTta.FLIP_SHIFT)

    @property
    def words(self) -> str:
        """The text that follows a number measured with it; empty for none."""
        if self is EvalTta.NONE:
            return ""
        return f" with {self.value} test-time augmentation"
