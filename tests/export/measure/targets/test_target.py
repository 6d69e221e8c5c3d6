"""What a bench measures is chosen by names."""

import types

import pytest

from export.measure.targets import target_rows
from export.measure.targets.target import FORMATS, BenchOptions, Target, TargetMissing
from trainer.errors import InvalidConfig, TrainingFailed


def test_words_choose_targets():
    assert BenchOptions.from_words(None).targets is None
    assert BenchOptions.from_words(["all"]).targets == tuple(Target)
    none, two = (
        BenchOptions.from_words(words) for words in (["none"], ["web", " onnx "])
    )
    assert none.leaves_out(Target.WEB) and not none.asks_for(Target.WEB)
    assert two.targets == (Target.ONNX, Target.WEB) and two.asks_for(Target.ONNX)
    assert not BenchOptions().asks_for(Target.WEB)
    assert not BenchOptions().leaves_out(Target.WEB)


@pytest.mark.parametrize("words", [["firefox"], ["web", "all"], [""], []])
def test_other_words_are_refused(words):
    with pytest.raises(InvalidConfig, match="must be a list of compiled, litert, onnx"):
        BenchOptions.from_words(words)


def test_words_choose_formats():
    assert BenchOptions.from_words(None).measures("float16")
    assert BenchOptions.from_words(None, [" all "]).formats is None
    two = BenchOptions.from_words(["none"], [" int8", "float32", "int8"])
    assert two.formats == ("float32", "int8") and two.targets == ()
    measured = [name for name in FORMATS if two.measures(name)]
    assert measured == ["checkpoint", "float32", "int8"]


@pytest.mark.parametrize("words", [["fp16"], ["int8", "all"], ["none"], [""], []])
def test_other_formats_are_refused(words):
    with pytest.raises(InvalidConfig, match="must be a list of checkpoint, saved_mod"):
        BenchOptions.from_words(None, words)


def test_a_run_of_qat_has_the_formats_it_was_trained_for():
    def run(qat: bool) -> types.SimpleNamespace:
        config = types.SimpleNamespace(model=types.SimpleNamespace(qat=qat))
        return types.SimpleNamespace(config=lambda: config)

    every, rounded, other = (
        BenchOptions(formats=names)
        for names in (None, ("saved_model", "float32", "int8"), ("int8", "int16x8"))
    )
    for options in (every, rounded):
        options.check_run(run(qat=True))
    other.check_run(run(qat=False))
    with pytest.raises(InvalidConfig, match="formats=int16x8 is not for a run of"):
        other.check_run(run(qat=True))


def test_what_cannot_be_measured_has_a_reason(monkeypatch):
    def missing(*_: object) -> list:
        raise TargetMissing("there is no Chromium on this machine")

    def failing(*_: object) -> list:
        raise TrainingFailed("the page\ndoes not run")

    measures = {
        Target.WEB: missing,
        Target.STANDALONE: failing,
        Target.ONNX: lambda inputs, rows, asked: [{"format": "onnx", "asked": asked}],
    }
    monkeypatch.setattr(target_rows, "_MEASURES", measures)
    found = target_rows.measure_targets(None, [], BenchOptions())
    assert found.skipped == {"web": "there is no Chromium on this machine"}
    assert found.rows == [
        {"format": "standalone", "failed": "the page does not run"},
        {"format": "onnx", "asked": False},
    ]
    only = target_rows.measure_targets(None, [], BenchOptions((Target.ONNX,)))
    assert only.rows == [{"format": "onnx", "asked": True}]
