"""A program says beside its threshold what it means, also where there is none."""

import pytest

from export.artifact.number_formats import Io
from export.examples import lite_programs, standalone_program
from export.examples.program_facts import ProgramFacts


@pytest.mark.parametrize("threshold", [None, 0.0, 0.75])
def test_no_threshold_is_not_taken_for_one_of_zero(threshold):
    facts = ProgramFacts(
        labels=("a", "b"),
        shape=(2, 2, 3),
        resize="crop",
        input=Io.UINT8,
        output=Io.UINT8,
        input_scale=1.0,
        output_quantization=(1 / 256, 0),
        threshold=threshold,
        origin="a network",
    )
    texts = {
        **lite_programs.format_programs("model.tflite", facts),
        **standalone_program.format_program(facts),
    }
    assert len(texts) == 5
    said = "no threshold promises 95 % right answers"
    for name, text in texts.items():
        (line,) = [x for x in text.splitlines() if said in x or 'below it "unk' in x]
        assert (said in line) == (threshold is None), name
        assert repr(threshold or 0.0) in line, name
