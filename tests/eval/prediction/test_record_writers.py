"""Records: every format has every file, and odd names survive."""

import csv
import io
import json

import numpy as np

from eval.prediction.image_classifier import FilePrediction
from eval.prediction.prediction_request import RecordFormat
from eval.prediction.record_writers import likeliest, open_writer

NAMES = ("cat", "a, dog", "狐")
PATHS = ["a.png", 'b "2",\n.png', "odd\udcff.png", "写真.png"]
ROWS = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2], [1, 0, 0], [1e-9, 0.25, 0.75]])


def predictions(label="cat"):
    return [
        FilePrediction(path, label if path == "a.png" else None, None, row)
        for path, row in zip(PATHS, ROWS, strict=True)
    ]


def written(kind, top_k=2, threshold=None) -> str:
    out = io.StringIO()
    writer = open_writer(kind, out, top_k, threshold)
    for part in (predictions()[:1], predictions()[1:], []):
        writer.write(part, NAMES)
    return out.getvalue()


def test_ties_go_to_the_lower_class():
    assert likeliest(ROWS[1], 9) == [(0, 0.4), (1, 0.4), (2, 0.2)]


def test_csv_has_one_header_and_every_file():
    rows = list(csv.DictReader(io.StringIO(written(RecordFormat.CSV))))
    assert [row["file"] for row in rows] == [*PATHS[:2], "odd\\udcff.png", PATHS[3]]
    assert [row["label"] for row in rows] == ["cat", "", "", ""]
    assert rows[0]["class"] == "a, dog" and rows[0]["class_2"] == "cat"
    assert [float(row["probability"]) for row in rows] == [0.7, 0.4, 1.0, 0.75]
    assert "class_3" not in rows[0]


def test_json_lines_give_the_very_paths_back():
    rows = [json.loads(line) for line in written(RecordFormat.JSONL, 9).splitlines()]
    assert [row["file"] for row in rows] == PATHS
    assert rows[3]["class"] == "狐" and rows[3]["top"][2]["probability"] == 1e-9
    assert rows[0] == {
        "file": "a.png",
        "label": "cat",
        "class": "a, dog",
        "probability": 0.7,
        "top": [
            {"class": "a, dog", "probability": 0.7},
            {"class": "cat", "probability": 0.2},
            {"class": "狐", "probability": 0.1},
        ],
    }
    assert written(RecordFormat.JSONL).isprintable() is False  # line ends alone
    assert "\udcff" not in written(RecordFormat.JSONL)


def test_a_table_has_a_line_a_file_and_marks_what_is_wrong():
    head, *lines = written(RecordFormat.TABLE).splitlines()
    assert head.split() == ["file", "class", "probability", "2."]
    assert len(lines) == 4 and "\\n" in lines[1]
    assert lines[0].split()[-1] == "cat" and " not cat" in lines[0]
    assert "70.0 %" in lines[0] and "not" not in lines[1]


def test_an_answer_below_the_threshold_is_not_given():
    """Row 0 is just sure enough, row 1 is not."""
    rows = list(csv.DictReader(io.StringIO(written(RecordFormat.CSV, 2, 0.7))))
    assert [row["answered"] for row in rows] == ["true", "false", "true", "true"]
    assert [row["class"] for row in rows] == ["a, dog", "", "cat", "狐"]
    assert rows[1]["probability"] == "0.4" and rows[1]["class_2"] == "a, dog"
    lines = written(RecordFormat.JSONL, 2, 0.7).splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["answered"] for one in found] == [True, False, True, True]
    assert found[1]["class"] is None and found[1]["top"][0]["class"] == "cat"
    head, *table = written(RecordFormat.TABLE, 2, 0.7).splitlines()
    assert "unknown" in table[1] and table[1].endswith("perhaps cat")
    assert "unknown" not in table[0] + table[2] + table[3]
    assert "70.0 %" in table[0] and table[1].count("40.0 %") == 2
