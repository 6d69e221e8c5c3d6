"""Names of classes are data: in files, on pages, on a terminal."""

import html.parser
import io
import json
import struct
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
from absl import flags

from eval import model_source, runner
from eval.formats import embedded, tflite_metadata
from eval.reports import output_folder, report_data, report_files
from export.lite import metadata_writer
from tests.support import eval_models, forged_tflite
from trainer import errors
from trainer.cli import command
from trainer.data import classes, loading
from trainer.data.split import Split
from trainer.monitoring.progress import Progress

HOSTILE = (
    "<script>alert(1)</script>",
    "a\u2028b",
    "a\nb\r\nc",
    "\x1b[2J\x1b[31mred\x07",
    "../../etc/passwd",
    "x" * 5000,
    "nul\0",
    "\u202eevil\u200b",
    "' onload='x\" &amp;",
    " last ",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("names") / "plain.tflite"
    return eval_models.tflite(path).read_bytes()


@pytest.fixture(scope="module")
def hostile(plain, tmp_path_factory):
    """A file with such classes, as an export writes it."""
    path = tmp_path_factory.mktemp("hostile") / "net.tflite"
    about = metadata_writer.ModelDescription("n", "t", (32, 32, 3), 0.0, 1.0)
    path.write_bytes(metadata_writer.add_metadata(plain, about, HOSTILE))
    return path


def test_a_file_that_we_wrote_agrees_with_its_manifest(hostile, tmp_path):
    said = {"labels": list(HOSTILE)}
    assert embedded.load_description(hostile, said)["labels"] == list(HOSTILE)
    whole = tmp_path / "whole.tflite"
    whole.write_bytes(metadata_writer.append_provenance(hostile.read_bytes(), said))
    assert embedded.load_description(whole, {})["labels"] == list(HOSTILE)
    assert embedded.load_description(whole, said)["labels"] == list(HOSTILE)
    assert len(embedded.load_description(hostile, {})["labels"]) == len(HOSTILE)
    other = {"labels": [*HOSTILE[:-1], "another"]}
    with pytest.raises(errors.InvalidInput, match="contradicts"):
        embedded.load_description(hostile, other)


@pytest.mark.parametrize(
    "names",
    [
        ["../../etc/passwd"],
        ["a\x1b[2Jb", "line\nbreak", "\u202egnp.exe"],
        [f"{n}.bin" for n in range(500)],
        ["labels.txt/x", "x" * 5000],
    ],
)
def test_what_is_not_read_of_an_archive_is_told_in_a_line(hostile, tmp_path, names):
    path = tmp_path / "odd.tflite"
    path.write_bytes(hostile.read_bytes())
    assert model_source.from_file(path).open((), 0).notes == []
    with zipfile.ZipFile(path, "a") as archive:
        for name in names:
            archive.writestr(name, b"x")
    (line,) = model_source.from_file(path).open((), 0).notes
    assert line.isprintable() and len(line) < 400 and str(path) in line
    assert names[0][:1] in line and ("497 more" in line) == (len(names) == 500)


def test_an_archive_that_cannot_be_read_is_told_in_a_line(hostile, tmp_path):
    path = tmp_path / "damaged.tflite"
    content = bytearray(hostile.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # as if it were encrypted
    path.write_bytes(content)
    (line,) = model_source.from_file(path).open((), 0).notes
    assert "is ignored: File 'labels.txt' is encrypted" in line


class Tags(html.parser.HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [(tag, name) for name, _ in attrs] or [(tag, "")]


def report_of(plain, path, data_dir, names):
    path.write_bytes(plain)
    data = loading.open_source("digits", str(data_dir))
    found = data.load("test")
    rows = slice(0, 40)
    split = Split(**{
        **vars(found), "names": tuple(names), "images": found.images[rows],
        "labels": found.labels[rows], "ids": found.ids[rows],
    })  # fmt: skip
    chosen = model_source.from_file(path)
    predictor = runner.open_predictor(chosen, split)
    done = runner.evaluate(chosen, predictor, split, data)
    return report_files.render_files(report_data.build_report(done, None, {}), done)


def test_a_report_shows_them_as_text(plain, tmp_path, data_dir):
    path = tmp_path / "net.tflite"
    made = report_of(plain, path, data_dir, HOSTILE)
    plainly = report_of(plain, path, data_dir, [f"n{n}" for n in range(10)])
    assert made.keys() == plainly.keys()  # no file is called by one
    assert json.loads(made[output_folder.REPORT_DATA])["data"]["classes"] == list(
        HOSTILE
    )
    page = made[output_folder.REPORT_PAGE].decode()
    assert "alert(1)" in page and "<script>alert(1)" not in page
    assert page.count("<script") == 1  # our own
    assert set(Tags(page).found) == set(
        Tags(plainly[output_folder.REPORT_PAGE].decode()).found
    )
    controls = {c for c in page if unicodedata.category(c) == "Cc"}
    assert controls <= {"\n", "\t", "\r"}
    with np.load(io.BytesIO(made["predictions.npz"]), allow_pickle=False) as kept:
        assert kept["probabilities"].shape == (40, 10)


def shown(text: str) -> None:
    for char in text.replace("\n", ""):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"}, repr(char)


def test_an_error_moves_no_cursor_and_stays_short(monkeypatch, capsys):
    def wrong():
        classes.match_classes(HOSTILE, [f"n{n}" for n in range(10)], "net\x1b[2J")

    monkeypatch.setattr(sys, "argv", ["eval.report"])
    with pytest.raises(SystemExit):
        command.run("eval.report", "", flags.FlagValues(), wrong)
    said = capsys.readouterr().err
    shown(said)
    assert "\\x1b[2J" in said and "alert(1)" in said
    assert len(said) < 1500 and len(said.splitlines()) <= 2


def test_a_line_that_stays_moves_no_cursor():
    out = io.StringIO()
    Progress(out=out).say(f"skipped {HOSTILE}{''.join(HOSTILE)}")
    shown(out.getvalue())


def zipped(name: str, data: bytes, compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def damaged_stream() -> bytes:
    content = bytearray(zipped("labels.txt", b"0\n1\n2\n" * 99))
    content[45:55] = b"\xff" * 10
    return bytes(content)


def lying(size: int) -> bytes:
    """An archive whose directory says another size than the member unpacks to."""
    content = bytearray(zipped("labels.txt", b"0\n" * 10**6))
    at = content.rindex(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(content)


ARCHIVES = {
    "bomb": zipped("labels.txt", bytes(10**8)),
    "a lie": lying(40),
    "no UTF-8": zipped("labels.txt", b"\xff\xfe\n\xff\n"),
    "damaged": damaged_stream(),
    "bzip2": zipped("labels.txt", b"a\nb", zipfile.ZIP_BZIP2)[:-30] + b"x" * 30,
    "another place": zipped("../../labels.txt", b"a\nb\n"),
    "deep provenance": zipped("provenance.json", b"[" * 10**6),
    "odd provenance": zipped("provenance.json", b'{"labels": "x", "io": 3}'),
    "infinite provenance": zipped("provenance.json", b'{"temperature": 1e999}'),
    "cut": zipped("labels.txt", b"a\nb\n")[:-5],
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_that_is_odd_says_nothing(plain, tmp_path, what):
    path = tmp_path / "net.tflite"
    path.write_bytes(plain + ARCHIVES[what])
    assert embedded.load_description(path, {}) == {}


def test_metadata_of_edited_files_raise_nothing(hostile):
    content = hostile.read_bytes()
    for seed in range(500):
        changed = forged_tflite.flipped(content, seed)
        tflite_metadata.parse_normalization(changed)
        tflite_metadata.find_labels_file(changed)
