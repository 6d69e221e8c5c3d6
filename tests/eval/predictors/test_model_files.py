"""What a model file says of itself decides what it gets and what it answers."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from eval import model_source
from eval.formats import embedded
from eval.formats.input_normalization import InputRange, InputScaling
from eval.predictors import input_range_check, model_files
from eval.predictors.engine import Kernels
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from export import tflite
from export.artifact.number_formats import Io, Scheme
from export.lite import converter, metadata_writer, tflite_writer
from tests.support import eval_models, export_runs
from trainer.data.split import Split
from trainer.errors import InvalidInput

DIGITS = list("0123456789")
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
RESOLVERS = {
    Kernels.XNNPACK: litert.OpResolverType.AUTO,
    Kernels.BUILTIN: litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    Kernels.REFERENCE: litert.OpResolverType.BUILTIN_REF,
}


@pytest.fixture
def report(monkeypatch, capfd, tmp_path):
    """eval.report of a file: how it ended, and report.json."""

    def call(path, *words):
        out = tmp_path / "report"
        shutil.rmtree(out, ignore_errors=True)
        words = (f"--model={path}", f"--out_dir={out}", *words)
        ended = eval_models.command(monkeypatch, capfd, "report", *words)
        kept = out / "report.json"
        return ended, json.loads(kept.read_text()) if kept.exists() else None

    return call


def digits() -> str:
    """The flag that says where the digits of export_kit's run are."""
    return f"--data_dir={export_runs.data()}"


@pytest.mark.parametrize(
    ("scheme", "io"),
    [
        (Scheme.INT8, Io.UINT8),
        (Scheme.INT8, Io.FLOAT32),
        pytest.param(Scheme.INT16X8, Io.FLOAT32, marks=pytest.mark.slow),
        (Scheme.FLOAT32, Io.FLOAT32),
    ],
)
def test_a_file_alone_is_judged_as_its_manifest_says(scheme, io, report, tmp_path):
    made = export_runs.exported(scheme, io)
    alone = shutil.copy(made.path, tmp_path / "alone.tflite")
    ended, found = report(alone, digits())
    assert ended.code == 0, ended
    test = made.manifest["test"]
    assert found["data"]["dataset"] == "digits/1.0.0"
    assert found["data"]["same_as_trained"] is True
    assert found["model"]["output"] == "probabilities"
    for name in ("correct", "nll", "ece"):
        assert found["scores"][name] == test[name]
    assert found["engine"] == test["engine"]
    assert found["remarks"] == []


def labelled(path, names, **options):
    """A foreign .tflite whose answers are of the classes `names`."""
    content = eval_models.tflite(path, **options).read_bytes()
    said = metadata_writer.ModelDescription("n", "t", (32, 32, 3), 0.0, 1.0)
    path.write_bytes(metadata_writer.add_metadata(content, said, names))
    return path


def test_labels_inside_count_in_whatever_order(report, data_dir, tmp_path):
    words = ("--dataset=digits", f"--data_dir={data_dir}")
    straight = labelled(tmp_path / "a.tflite", DIGITS)
    turned = labelled(
        tmp_path / "b.tflite", DIGITS[::-1], answer=lambda x: tf.reverse(x, [1])
    )
    (_, own), (ended, other) = (report(path, *words) for path in (straight, turned))
    assert "in another order" in " ".join(ended.err)
    assert other["scores"]["confusion"] == own["scores"]["confusion"]
    assert other["scores"]["nll"] == pytest.approx(own["scores"]["nll"])


def test_labels_may_have_another_name(tmp_path):
    path = labelled(tmp_path / "a.tflite", DIGITS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labelmap.txt", "\n".join("abcdefghij"))
    assert (
        embedded.load_description(path, {})["labels"] == DIGITS
    )  # as its metadata says


@pytest.mark.parametrize(
    ("inside", "beside"),
    [
        ("letters", None),
        ("letters", "digits"),
        ("digits", "letters"),
        ("fewer", None),
        (None, "letters"),
        (None, "fewer"),
    ],
)
def test_labels_that_contradict_are_refused(inside, beside, report, data_dir, tmp_path):
    names = {"digits": DIGITS, "letters": list("abcdefghij"), "fewer": DIGITS[:9]}
    path = tmp_path / "net.tflite"
    if inside:
        labelled(path, names[inside])
    else:
        eval_models.tflite(path)
    if beside:
        text = json.dumps({"labels": names[beside]})
        (tmp_path / "net.tflite.json").write_text(text)
    ended, found = report(path, "--dataset=digits", f"--data_dir={data_dir}")
    assert (ended.code, found) == (2, None)
    assert len(ended.err) <= 2 and "net.tflite" in ended.err[0]


@pytest.mark.parametrize("field", ["data", "temperature", "image_shape", "config"])
def test_provenance_that_the_manifest_contradicts_is_refused(field, tmp_path):
    inside = {
        "data": "digits/1.0.0",
        "temperature": 1.5,
        "image_shape": [32, 32, 3],
        "config": {"data": {"dataset": "digits"}},
    }
    other = {
        "data": "cifar10/3.0.2",
        "temperature": "uncalibrated",
        "image_shape": [28, 28, 1],
        "config": {"data": {"dataset": "cifar10"}},
    }
    path = eval_models.tflite(tmp_path / "net.tflite")
    path.write_bytes(metadata_writer.append_provenance(path.read_bytes(), inside))
    assert embedded.load_description(path, {}) == inside
    assert embedded.load_description(path, inside) == inside
    with pytest.raises(InvalidInput, match=f"its {field} is"):
        embedded.load_description(path, inside | {field: other[field]})


@pytest.mark.parametrize("damage", ["no UTF-8", "one line", "cut off", "no JSON"])
def test_damage_inside_is_as_if_nothing_were_said(damage, tmp_path):
    path = eval_models.tflite(tmp_path / "net.tflite")
    name = "provenance.json" if damage == "no JSON" else "labels.txt"
    text = {"no UTF-8": b"\xff\n\xfe", "one line": b"cat", "no JSON": b"{"}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, text.get(damage, b"cat\ndog\n"))
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-9])
    assert embedded.load_description(path, {}) == {}


def sigmoids(x):
    return tf.sigmoid(x - tf.reduce_mean(x, axis=1, keepdims=True))


LAST = {
    "softmax": (tf.nn.softmax, Output.PROBABILITIES),
    "softmax of few": (lambda x: tf.nn.softmax(x / 999), Output.PROBABILITIES),
    "softmax, shaped": (
        lambda x: tf.reshape(tf.nn.softmax(x), [-1, 10]),
        Output.PROBABILITIES,
    ),
    "sigmoid": (sigmoids, Output.SIGMOIDS),
    "log softmax": (tf.nn.log_softmax, Output.LOGITS),
    "none": (tf.identity, Output.LOGITS),
}


@pytest.mark.parametrize("make", [eval_models.tflite, eval_models.saved_model])
@pytest.mark.parametrize("last", LAST)
def test_the_last_operator_says_what_answers_are(last, make, tmp_path):
    answer, output = LAST[last]
    path = make(tmp_path / "net.tflite", answer=answer)
    ours = model_files.open_file(path, FileOptions(Output.AUTO))
    given = ours(IMAGES)
    assert ours.output is output
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)
    plain = (
        eval_models.Classifier((None, 32, 32, 3), answer=answer)
        .call(IMAGES.astype(np.float32))["answers"]
        .numpy()
        .astype(float)
    )
    expected = {
        Output.PROBABILITIES: plain,
        Output.SIGMOIDS: plain / plain.sum(axis=1, keepdims=True),
        Output.LOGITS: eval_models.softmax(plain),
    }[output]
    np.testing.assert_allclose(given, expected, atol=1e-5)
    for other in set(Output) - {Output.AUTO}:  # told where the operator says another
        told = model_files.open_file(path, FileOptions(other)).notes
        assert len(told) == (last != "none" and other is not output)


def test_labels_in_the_assets_of_a_saved_model_count(tmp_path):
    path = eval_models.saved_model(tmp_path / "m")
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets" / "labels.txt").write_text("\n".join(DIGITS[::-1]))
    assert model_source.from_file(path).classes == tuple(DIGITS[::-1])


def test_a_file_that_names_no_data_is_asked_about_cifar10_and_that_is_said(
    report, tmp_path
):
    path = eval_models.tflite(tmp_path / "net.tflite")
    # Below a file nothing can be prepared, with or without a network.
    ended, _ = report(path, f"--data_dir={path / 'none'}")
    assert ended.code == 2
    assert "does not say what it was trained on" in ended.err[0]
    assert "cifar10" in ended.err[0]


def test_sigmoids_of_nothing_favour_no_class(tmp_path):
    path = eval_models.tflite(tmp_path / "n.tflite", answer=lambda x: sigmoids(x) * 0)
    ours = model_files.open_file(path, FileOptions(Output.SIGMOIDS))
    np.testing.assert_allclose(ours(IMAGES), 0.1)


def test_the_step_of_answers_is_that_before_a_dequantize():
    made = export_runs.exported(Scheme.INT8, Io.FLOAT32)
    assert (
        tflite_writer.open_predictor(made.path, Kernels.XNNPACK).min_probability
        == 1 / 512
    )


@pytest.mark.parametrize("kernels", Kernels)
def test_kernels_are_those_asked_for_and_are_named(kernels, report):
    path = export_runs.exported(Scheme.INT8, Io.UINT8).path
    own = litert.Interpreter(
        str(path), experimental_op_resolver_type=RESOLVERS[kernels]
    )
    own.allocate_tensors()
    source, sink = own.get_input_details()[0], own.get_output_details()[0]
    exam, rows = export_runs.opened().verification_set, []
    for image in exam.images:
        own.set_tensor(source["index"], image[None])
        own.invoke()
        rows.append(own.get_tensor(sink["index"])[0] / 256)
    ours = model_files.open_file(path, FileOptions(Output.AUTO, kernels=kernels))
    np.testing.assert_array_equal(ours(exam.images), rows)
    ended, found = report(path, f"--kernels={kernels.value}", digits())
    assert found["engine"]["kernels"] == kernels.value
    assert (found["engine"]["delegate"] == "XNNPACK") == (kernels is Kernels.XNNPACK)
    assert f"{kernels.value} kernels" in ended.out


def test_an_export_is_verified_with_the_kernels_asked_for():
    opened = export_runs.opened("--kernels=reference")
    options = tflite.parse_options(export_runs.parsed(tflite.define, "--quantize"))
    made = tflite_writer.write_tflite(opened, options)
    assert made.manifest["test"]["engine"]["kernels"] == "reference"
    assert "reference kernels" in made.summary()


def test_a_wrong_input_range_is_suggested_another(report, tmp_path):
    network = export_runs.opened().network
    path = tmp_path / "bare.tflite"  # takes (pixel - 128) / 128 and does not say so
    path.write_bytes(converter.convert(network, Scheme.FLOAT32, Io.FLOAT32, None))
    words = ("--dataset=digits", digits())
    ended, found = report(path, *words, "--input_range=0:1")
    assert any("input_range=-1:1" in line for line in found["remarks"])
    assert "--input_range=-1:1" in " ".join(ended.err)
    ended, found = report(path, *words, "--input_range=-1:1")
    assert (found["remarks"], ended.err) == ([], [])


def scaled(path, low: int, high: int):
    """An int8 file whose calibration saw pixels from `low` to `high` only."""
    module = eval_models.Classifier()
    concrete = module.call.get_concrete_function()
    made = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    seen = IMAGES.clip(low, high).astype(np.float32)
    made.representative_dataset = lambda: ([image[None]] for image in seen)
    made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    made.inference_input_type = made.inference_output_type = tf.int8
    path.write_bytes(made.convert())
    return path


def test_an_8_bit_scale_other_than_the_pixels_is_told_and_kept(tmp_path):
    path = scaled(tmp_path / "net.tflite", 0, 230)
    plain = eval_models.Classifier((None, 32, 32, 3)).call(IMAGES.astype(np.float32))
    truth = plain["answers"].numpy().argmax(axis=1)
    found = {}
    for scaling in (None, *InputScaling):
        ours = model_files.open_file(
            path, FileOptions(Output.LOGITS, input_scaling=scaling)
        )
        assert ["set input_scaling=" in line for line in ours.notes] == [True]
        found[scaling] = ours(IMAGES)
        right = (found[scaling].argmax(axis=1) == truth).mean()
        assert right > 0.5
    np.testing.assert_array_equal(found[None], found[InputScaling.FILE])
    assert (found[None] != found[InputScaling.PIXELS]).any()
    whole = scaled(tmp_path / "whole.tflite", 0, 255)
    assert model_files.open_file(whole, FileOptions(Output.LOGITS)).notes == []


def wavy(x):
    return 9 * tf.sin(x)  # so that the size of its input matters


@pytest.mark.parametrize(
    ("make", "flag"),
    [
        (lambda path: scaled(path, 0, 255), "input_scaling=pixels"),
        (lambda path: eval_models.tflite(path, answer=wavy), "input_range=0:255"),
        (
            lambda path: eval_models.saved_model(path, answer=wavy),
            "input_range=0:255",
        ),
    ],
)
def test_the_reading_that_would_be_right_is_suggested(make, flag, tmp_path):
    path = make(tmp_path / "net.tflite")
    right = model_files.open_file(path, FileOptions(Output.LOGITS, InputRange.RAW))
    labels = right(IMAGES).argmax(axis=1).astype(np.int32)
    split = Split(IMAGES, labels, (), tuple(DIGITS), "00", "test")
    assert input_range_check.suggest_reading(right, split) == []
    wrong = model_files.open_file(path, FileOptions(Output.LOGITS, InputRange.UNIT))
    (line,) = input_range_check.suggest_reading(wrong, split)
    assert line.endswith(f"100.0% with {flag}")


def test_metadata_that_an_8_bit_scale_contradicts_is_refused(tmp_path):
    path = scaled(tmp_path / "net.tflite", 0, 255)
    said = metadata_writer.ModelDescription("n", "t", (32, 32, 3), 0.0, 255.0)
    path.write_bytes(metadata_writer.add_metadata(path.read_bytes(), said, DIGITS))
    with pytest.raises(InvalidInput, match="input_scaling=pixels gives"):
        model_files.open_file(path, FileOptions(Output.LOGITS))
    for how in (
        {"input_scaling": InputScaling.PIXELS},
        {"input_range": InputRange.RAW},
    ):
        model_files.open_file(path, FileOptions(Output.LOGITS, **how))(IMAGES)


@pytest.mark.parametrize("flag", ["--kernels=builtin", "--input_scaling=file"])
def test_a_saved_model_has_neither_kernels_nor_scaling(flag, report, tmp_path):
    path = eval_models.saved_model(tmp_path / "m")
    ended, found = report(path, flag, "--dataset=digits", digits())
    assert (ended.code, found) == (2, None)
    assert flag in ended.err[0] and "SavedModel" in ended.err[0]


class AnySize(tf.Module):
    """Means of the three channels, three times, for images of any size."""

    def __init__(self, spec):
        super().__init__()
        self.call = tf.function(self.means, [tf.TensorSpec(spec, tf.float32)])

    def means(self, x):
        return tf.nn.softmax(tf.tile(tf.reduce_mean(x, [1, 2]) / 64, [1, 3]))


@pytest.mark.parametrize("spec", [(None, None, None, 3), (1, None, None, 3)])
@pytest.mark.parametrize("side", [8, 32])
def test_a_file_of_dynamic_size_takes_images_of_any_size(spec, side, tmp_path):
    module, path = AnySize(spec), tmp_path / "any.tflite"
    concrete = module.call.get_concrete_function()
    made = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    path.write_bytes(made.convert())
    images = IMAGES[:, :side, :side]
    ours = model_files.open_file(path, FileOptions(Output.AUTO))
    ours.check_fits((side, side, 3), 9)
    expected = AnySize((None, None, None, 3)).call(images.astype(np.float32))
    np.testing.assert_allclose(ours(images), expected, atol=1e-6)
    with pytest.raises(InvalidInput, match="takes images any x any x 3"):
        ours.check_fits((side, side, 1), 9)


def test_equal_names_are_told_apart_by_paths(run, monkeypatch, capfd, tmp_path):
    places = [tmp_path / name / "export" for name in ("a", "b")]
    for place in places:
        place.mkdir(parents=True)
        eval_models.tflite(place / "net.tflite")
    words = [str(place / "net.tflite") for place in places] + [str(run), str(run)]
    out = f"--out_dir={tmp_path / 'out'}"
    ended = eval_models.command(monkeypatch, capfd, "compare", str(run), *words, out)
    assert ended.code == 0, ended
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    names = [model["name"] for model in found["models"]]
    assert len(set(names)) == 5
    assert names[1:3] == ["a/export/net.tflite", "b/export/net.tflite"]
    page = (tmp_path / "out" / "comparison.html").read_text()
    for name in names:
        assert name in ended.out and name in page
    one = model_source.from_file(places[0] / "net.tflite")
    assert [s.name for s in model_source.rename_apart([one])] == ["net.tflite"]
