"""Errors of TensorFlow become short messages with a remedy."""

import pathlib

import pytest
import tensorflow as tf

from trainer.distributed.error_translation import (
    translate_errors,
    translate_lost_peers,
)
from trainer.distributed.heartbeat import Heartbeat
from trainer.errors import PeerLost, TrainingFailed

# As TensorFlow 2.21 words them.
MESSAGES = {
    "Determinism is not yet supported in GPU implementation of "
    "FakeQuantWithMinMaxVarsGradient.": "FakeQuantWithMinMaxVarsGradient",
    "A deterministic GPU implementation of AdjustContrastv2 is not currently "
    "available.\n\t [[{{node f/AdjustContrastv2}}]]": "AdjustContrastv2",
    "A deterministic GPU implementation of fused batch-norm backprop, when training "
    "is disabled, is not currently available.": "fused",
    "Deterministic GPU implementation of CropAndResizeBackpropImage not available.": (
        "CropAndResizeBackpropImage"
    ),
}


def raise_within(message: str) -> None:
    context = translate_errors(
        pathlib.Path("run"),
        None,
        None,
        step=lambda: 0,
        memory_remedy=lambda: "use less",
    )
    with context:
        raise tf.errors.UnimplementedError(None, None, message)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_kernel_that_is_not_deterministic_is_named_with_the_remedy(message):
    with pytest.raises(TrainingFailed) as caught:
        raise_within(message)
    said = str(caught.value)
    assert f"no deterministic GPU kernel of {MESSAGES[message]}" in said
    assert "deterministic=False" in said
    assert len(said.splitlines()) == 2


def test_another_missing_kernel_is_not_translated():
    with pytest.raises(tf.errors.UnimplementedError):
        raise_within("Op type not registered")


def test_a_peer_lost_while_the_network_is_built_is_a_lost_peer(tmp_path):
    lost = tf.errors.UnavailableError(None, None, "tasks are unhealthy")
    heartbeat = Heartbeat(tmp_path, 0, 2, 60.0)
    with (
        pytest.raises(PeerLost, match="lost a peer after the start"),
        translate_lost_peers(0, 2, heartbeat),
    ):
        raise lost
    with (
        pytest.raises(tf.errors.UnavailableError),
        translate_lost_peers(0, 1, heartbeat),
    ):
        raise lost
