"""Enums of configs and flags."""

import enum


class Strategy(enum.Enum):
    """Distribution of a step over replicas."""

    ONE_DEVICE = "one_device"
    MIRRORED = "mirrored"  # all GPUs of this process, or its logical devices
    MULTI_WORKER = "multi_worker"  # the processes that TF_CONFIG lists


class Augment(enum.Enum):
    """Augmentation of the training images; each but CROP includes the one before."""

    NONE = "none"
    FLIP = "flip"
    FLIP_CROP = "flip_crop"
    FLIP_CROP_CUTOUT = "flip_crop_cutout"
    CROP = "crop"  # for what may not be mirrored, such as digits


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

    @property
    def words(self) -> str:
        """The text that follows a number measured with it; empty for none."""
        if self is EvalTta.NONE:
            return ""
        return f" with {self.value} test-time augmentation"
