"""The C program of a network answers byte for byte what LiteRT's reference answers."""

import ctypes
import subprocess

import numpy as np
import pytest

from eval.formats.embedded import one_line
from export.examples import c_text
from export.microcontroller.standalone import operator_steps
from export.microcontroller.standalone.arena import Buffer, plan_offsets
from export.microcontroller.standalone.integer_graph import parse_graph
from export.microcontroller.standalone.program import build_program
from tests.support import c_projects, operator_cases, operator_files
from tests.support.operator_cases import CASES
from trainer.errors import InvalidInput

LABELS = ["*/ int x;", 'a "b"\\', "??/ ??!", "été 猫 😀", "new\nline", "nul\0 /* "]


@c_projects.needs_compiler
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "sanitized", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_every_operator_is_byte_for_byte_that_of_litert(sanitized, name, tmp_path):
    content = CASES[name]()
    shape = parse_graph(content, name).input.shape[1:]
    images = np.concatenate(
        [
            operator_files.random_images(60, shape, seed=5),
            np.random.default_rng(6).integers(0, 256, (60, *shape), np.uint8),
        ]
    )
    answers = operator_files.reference_answers(content, images)
    assert len(np.unique(answers)) > 6  # the images are not all alike to it
    c_projects.write_project(tmp_path, content, images[:1], answers[:1])
    flags = c_projects.sanitizers() if sanitized else ("-O1",)
    found = c_projects.answer(tmp_path, images, *flags)
    np.testing.assert_array_equal(found, answers)


def test_the_cases_have_every_operator_that_there_is_a_kernel_for():
    found = {
        operator.name
        for make in CASES.values()
        for operator in parse_graph(make(), "test").operators
    }
    missing = {*operator_steps.STEPS, *operator_steps.SAME_BYTES} - found
    assert missing == {"SQUEEZE", "EXPAND_DIMS"}


@c_projects.needs_compiler
def test_gcc_of_all_files_is_the_program_and_labels_may_be_anything(tmp_path):
    content = operator_cases.probabilities(0.05, classes=len(LABELS))
    images = operator_files.random_images(5, (1, 1, len(LABELS)))
    answers = operator_files.reference_answers(content, images)
    c_projects.write_project(tmp_path, content, images, answers, LABELS)
    done = c_projects.build_and_run(tmp_path, *c_projects.sanitizers())
    assert done.stdout == "5 of 5 vectors equal\n" and done.returncode == 0
    answers[1, 4] ^= 1
    c_projects.write_project(tmp_path, content, images, answers, LABELS)
    done = c_projects.build_and_run(tmp_path)
    assert done.returncode == 1 and done.stdout.startswith("vector 1, class 4: ")


@c_projects.needs_compiler
def test_labels_are_whole_in_c(tmp_path):
    content = operator_cases.probabilities(0.05, classes=len(LABELS))
    images = operator_files.random_images(1, (1, 1, len(LABELS)))
    answers = operator_files.reference_answers(content, images)
    c_projects.write_project(tmp_path, content, images, answers, LABELS)
    words = ["gcc", "-shared", "-fPIC", tmp_path / "model.c", "-o", tmp_path / "m.so"]
    subprocess.run(words, check=True)
    library = ctypes.CDLL(str(tmp_path / "m.so"))
    labels = (ctypes.c_char_p * len(LABELS)).in_dll(library, "model_labels")
    assert [label.decode() for label in labels] == [one_line(name) for name in LABELS]
    for threshold, expected in ((199, 1), (200, 1), (201, 0)):
        answer = bytes([3, 200, 200, 7, 0, 1])
        assert library.model_is_certain(answer, threshold) == expected
    assert library.model_is_certain(None, 0) == 0
    comment = c_text.c_comment("a */ b /* ??/ été\n")
    assert comment.isascii() and not {"*/", "/*", "??", "\n"} & {comment}
    assert "*/" not in comment and "\n" not in comment and "??" not in comment


def test_tensors_that_are_needed_at_once_never_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        first = rng.integers(0, 20, 30)
        last = first + rng.integers(0, 6, 30)
        sizes = rng.integers(1, 300, 30)
        buffers = [
            Buffer(*map(int, row)) for row in zip(sizes, first, last, strict=True)
        ]
        offsets, total = plan_offsets(buffers)
        for i, (one, at) in enumerate(zip(buffers, offsets, strict=True)):
            assert at % 16 == 0 and at + one.size <= total
            for other, there in zip(buffers[:i], offsets[:i], strict=True):
                apart = at + one.size <= there or there + other.size <= at
                assert apart or not one.overlaps(other)


def test_what_has_no_kernel_is_named():
    graph = parse_graph(operator_cases.without_kernel(), "test")
    with pytest.raises(InvalidInput, match="operator ABS has no kernel"):
        build_program(graph)


def test_a_file_that_is_not_of_8_bits_says_what_is_needed():
    content = operator_cases.float_end()
    with pytest.raises(InvalidInput, match="float32(.|\n)*needs an\n? ?int8 file"):
        parse_graph(content, "a.tflite")
    for damaged in (b"", b"TFL3" * 9, content[: len(content) // 2]):
        with pytest.raises(InvalidInput, match=r"a\.tflite"):
            parse_graph(damaged, "a.tflite")
