"""Which operators of a graph no GPU has a kernel for, by TensorFlow's own list."""

import tensorflow as tf
from tensorflow.python.framework import kernels

# Not run on the device: they steer the loop, hold its arguments or start functions.


def test_the_kernel_list_tells_what_has_no_gpu_kernel():
    """Guards the test above: uint8 gathers are known to have none."""
    found = kernels.get_registered_kernels_for_op("GatherV2").kernel
    on_gpu = [k for k in found if k.device_type == "GPU"]
    types = {
        t
        for k in on_gpu
        for c in k.constraint
        if c.name == "Tparams"
        for t in c.allowed_values.list.type
    }
    assert tf.int64.as_datatype_enum in types
    assert tf.uint8.as_datatype_enum not in types
