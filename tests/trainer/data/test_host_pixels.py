"""--input=host: the bits of --input=device, read ahead by a thread that always ends."""

import functools
import os
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.support.compiled_steps import (
    BLOCK,
    IMAGES,
    PLAIN,
    assemble,
    config,
    fingerprint,
    run,
    trace_step,
)
from tests.support.gpu_kernels import without_gpu_kernel
from trainer.config.enums import Input, Precision
from trainer.data import host_pixels
from trainer.data.host_pixels import HostPixels, RowReader
from trainer.data.sampler import Sampler
from trainer.errors import InvalidInput, PeerLost, TrainingFailed

HOST = functools.partial(trace_step, source=Input.HOST)


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "pixels"]


@pytest.fixture(params=["memory", "file", "part of a file"])
def images(request, tmp_path):
    """Images whose rows are no whole number of words."""
    drawn = np.random.default_rng(0).integers(0, 256, (60, 5, 3, 1), np.uint8)
    if request.param == "memory":
        return drawn
    drawn.tofile(tmp_path / "pixels.u8")
    mapped = np.memmap(tmp_path / "pixels.u8", np.uint8, "r", shape=drawn.shape)
    return mapped[7:57] if request.param == "part of a file" else mapped


@pytest.mark.parametrize(
    ("count", "shards", "model"),
    [
        pytest.param(1, None, PLAIN, marks=pytest.mark.slow),
        (2, None, PLAIN),
        pytest.param(2, None, BLOCK, marks=pytest.mark.slow),
        pytest.param(1, 4, PLAIN, marks=pytest.mark.slow),
        pytest.param(2, 4, PLAIN, marks=pytest.mark.slow),  # as mixed images, there
    ],
)
def test_host_and_device_give_the_same_bits(
    replicas, monkeypatch, count, shards, model
):
    monkeypatch.setattr(host_pixels, "CHUNK_BYTES", 70_000)  # 2 to 5 steps
    settings = config(model, elastic_shards=shards)
    state, expected = run(replicas(count), settings, 12)
    other, found = run(replicas(count), settings, 12, per_call=7, traced=HOST)
    assert fingerprint(other) == fingerprint(state)
    np.testing.assert_array_equal(found, expected)
    assert not threads()


def test_every_operator_has_a_gpu_kernel(replicas):
    _, trainer = assemble(replicas(2), config(), HOST)
    assert not without_gpu_kernel(trainer.graph)


def test_rows_are_the_images(images):
    reader, rows = RowReader(images), np.array([3, 0, 49, 3], np.int32)
    out = np.zeros((4, 16), np.uint8)
    reader.read(rows, out)
    reader._slow = isinstance(images, np.memmap)
    reader.hint(rows)
    reader.read(rows, out)
    np.testing.assert_array_equal(out[:, :15], images.reshape(-1, 15)[rows])
    exact = np.zeros((4, 15), np.uint8)
    reader.read(rows, exact)
    np.testing.assert_array_equal(exact, out[:, :15])


def unpacked(pixels: HostPixels, step: int, rows: np.ndarray) -> np.ndarray:
    """The images of a block, as one replica gets them."""
    parts = [
        words.values[0].numpy() if hasattr(words, "values") else words.numpy()
        for words, _ in pixels.calls(step, rows)
    ]
    flat = np.concatenate(parts).view(np.uint8)[..., : np.prod(pixels.shape)]
    return flat.reshape(*rows.shape, *pixels.shape)


def test_any_order_of_steps_gives_the_rows_that_were_asked_for(
    replicas, images, monkeypatch
):
    monkeypatch.setattr(host_pixels, "CHUNK_BYTES", 3 * 8 * 16)  # 3 steps
    pixels = HostPixels(images, replicas(1), global_batch=8)
    sampler = Sampler(np.arange(50), global_batch=8, seed=0)
    with pixels.reading(sampler.block, 4, 30):
        for step, count in ((4, 1), (5, 4), (9, 2), (2, 3), (11, 9), (25, 5)):
            rows = sampler.block(step, count)
            found = unpacked(pixels, step, rows)
            np.testing.assert_array_equal(found, images[rows])
        other = rows[:, ::-1]  # not what was guessed
        np.testing.assert_array_equal(unpacked(pixels, 25, other), images[other])
        past = sampler.block(28, 4)
        np.testing.assert_array_equal(unpacked(pixels, 28, past), images[past])
    assert not threads()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_partners_mirror_the_positions_in_the_global_batch(replicas, images, count):
    pixels = HostPixels(images, replicas(count), global_batch=8, partners=True)
    rows, share = np.arange(16, dtype=np.int32).reshape(2, 8), 8 // count
    ((found, _),) = pixels.calls(0, rows)
    for replica, value in enumerate(getattr(found, "values", [found])):
        step = pixels.of_step(value, 1)
        for start in range(0, share, 2):  # a part of the share
            first = replica * share + start
            for chosen, where in ((pixels.part, first), (pixels.partners, 6 - first)):
                row = tf.constant(rows[1, where : where + 2])
                seen = pixels.decode(chosen(step, start, 2), row)
                np.testing.assert_array_equal(seen, images[row.numpy()])


def test_what_is_read_ahead_is_bounded_and_the_thread_ends(replicas, images):
    asked = []

    def rows(step: int, count: int) -> np.ndarray:
        asked.append(step)
        return np.zeros((count, 2**12), np.int32)

    pixels = HostPixels(images, replicas(1), global_batch=2**12)  # 256 steps a chunk
    with pytest.raises(KeyError), pixels.reading(rows, 0, 10**9):
        time.sleep(1)
        assert len(asked) <= 3
        raise KeyError
    assert not threads()


def test_a_storage_error_ends_the_loop_that_waits(replicas, images, monkeypatch):
    pixels = HostPixels(images, replicas(1), global_batch=4)
    sampler = Sampler(np.arange(50), global_batch=4, seed=0)
    if isinstance(images, np.memmap):

        def fail(*_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "preadv", fail)
        lost = pytest.raises(PeerLost, match="pixels.u8 cannot be read")
        with lost, pixels.reading(sampler.block, 0, 9):
            unpacked(pixels, 0, sampler.block(0, 2))
    with pytest.raises(ZeroDivisionError), pixels.reading(lambda *_: 1 / 0, 0, 9):
        unpacked(pixels, 0, sampler.block(0, 2))
    assert not threads()


def test_a_file_that_was_cut_is_named(tmp_path):
    np.zeros((9, 4, 4, 1), np.uint8).tofile(tmp_path / "pixels.u8")
    mapped = np.memmap(tmp_path / "pixels.u8", np.uint8, "r", shape=(9, 4, 4, 1))
    reader, out = RowReader(mapped), np.zeros((1, 16), np.uint8)
    os.truncate(tmp_path / "pixels.u8", 100)
    reader.read(np.array([5]), out)
    with pytest.raises(TrainingFailed, match="has no row 6 any more"):
        reader.read(np.array([6]), out)


def test_a_file_that_was_replaced_is_named(tmp_path):
    path = tmp_path / "pixels.u8"
    IMAGES.tofile(path)
    mapped = np.memmap(path, np.uint8, "r", shape=IMAGES.shape)
    (255 - IMAGES).tofile(tmp_path / "other")
    os.replace(tmp_path / "other", path)
    with pytest.raises(InvalidInput, match="was replaced"):
        RowReader(mapped)


@pytest.mark.slow
def test_two_replicas_in_float64_are_one(replicas):
    settings = config(precision=Precision.FLOAT64)
    _, losses = run(replicas(1), settings, 10, traced=HOST)
    _, shared = run(replicas(2), settings, 10, traced=HOST)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
