"""The table fits a terminal, whatever was measured."""

import pytest

from export.measure.results import table


def row(name: str, **changes: object) -> dict:
    found = {
        "format": name,
        "images": 10_000,
        "split_images": 10_000,
        "sampled": False,
        "accuracy": 0.9067,
        "accuracy_interval": [0.9008, 0.9122],
        "flips": 1234,
        "bytes": 10_567_890,
        "load_ms": 1234.5,
        "peak_memory_bytes": 123_456_789,
        "one_thread": {"p50_ms": 1306.2, "p90_ms": 1400, "p99_ms": 2345.6},
        "all_threads": {"p50_ms": 0.0612},
        "engine": {"name": "LiteRT", "kernels": "reference", "delegate": "XNNPACK"},
    }
    return found | changes


ROWS = [
    row("int8_litert_20-float32"),
    row("checkpoint", engine={"name": "TensorFlow", "delegate": None}),
    row("int8_compiled", engine={"name": "LiteRT", "api": "CompiledModel"}),
    row("web", all_threads=None, peak_memory_bytes=None),
    row("cortex_m4", load_ms=None, one_thread=None, all_threads=None),
    {"format": "int16x8", "failed": "it cannot be exported " * 9},
]


def test_no_line_is_wider_than_a_terminal():
    lines = table.format_table(ROWS).splitlines()
    assert max(map(len, lines)) <= table.WIDTH
    assert lines[2].startswith("checkpoint") and lines[2].endswith("tensorflow")
    assert lines[3].endswith("compiled")
    assert "int16x8: FAILED, it cannot be exported" in "\n".join(lines)


def test_a_column_is_left_out_only_where_there_is_no_room():
    titles = table.format_table([row("int8", bytes=158_000)]).splitlines()[0]
    assert " all " in titles
    titles = table.format_table(ROWS).splitlines()[0]
    assert " all " not in titles and "p50 ms" in titles


def test_the_machine_is_named():
    found = {"processor": "AMD EPYC " * 9, "threads": 2, "platform": "Linux-6.1 " * 5}
    text = table.describe_machine({"environment": found, "rows": ROWS})
    assert text.startswith("10,000 test images; AMD EPYC") and "2 cores" in text
    assert max(map(len, text.splitlines())) <= table.WIDTH
    assert "1 core," in table.describe_machine(
        {"environment": found | {"threads": 1}, "rows": []}
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 bytes"), (157_800, "158 kB"), (10_500_000, "10.5 MB")],
)
def test_sizes(count, text):
    assert table.format_bytes(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0623, "0.062"), (1.26, "1.3"), (1306.2, "1,306")]
)
def test_times(value, text):
    assert table.format_milliseconds(value) == text
