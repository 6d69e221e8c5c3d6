"""Mixed images of the host are those of the device, on any number of replicas."""

import dataclasses
import functools

import numpy as np
import pytest

from tests.support.compiled_steps import PLAIN, config, fingerprint, run, trace_step
from trainer.config.enums import Augment, Input


@pytest.mark.parametrize(("count", "shards"), [(2, None), (2, 4)])
def test_mixed_images_of_host_and_device_give_the_same_bits(replicas, count, shards):
    plain = config(PLAIN, augment=Augment.FLIP_CROP, elastic_shards=shards)
    data = dataclasses.replace(plain.data, mixup=0.4, cutmix=1.0)
    settings = dataclasses.replace(plain, data=data)
    host = functools.partial(trace_step, source=Input.HOST)
    state, expected = run(replicas(count), settings, 4)
    other, found = run(replicas(count), settings, 4, traced=host)
    assert fingerprint(other) == fingerprint(state)
    np.testing.assert_array_equal(found, expected)
