"""The picture has every row, and is repeatable."""

from export.measure.results import chart

ROWS = [
    {
        "format": name,
        "images": images,
        "bytes": size,
        "accuracy": 0.9,
        "accuracy_interval": [0.88, 0.92],
        "one_thread": latency and {"p50_ms": latency},
    }
    for name, images, size, latency in (
        ("float32", 360, 559_000, 0.26),
        ("int8", 360, 158_000, 0.06),
        ("cortex_m4", 200, 150_000, None),
    )
] + [{"format": "float16", "failed": "no kernel"}]


def test_rows_are_drawn_and_both_files_written(tmp_path):
    for name in ("one", "two"):
        chart.write_charts(ROWS, tmp_path / f"{name}.json")
    text = (tmp_path / "one.svg").read_text()
    for name in ("float32", "int8", "cortex_m4 (200 images)"):
        assert f">{name}<" in text
    assert ">float16<" not in text and "mathdefault" not in text
    assert text == (tmp_path / "two.svg").read_text()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    left, right = chart.draw(ROWS).axes
    assert (len(left.containers), len(right.containers)) == (3, 2)


def test_nothing_to_draw_is_no_error(tmp_path):
    chart.write_charts(ROWS[3:], tmp_path / "empty.json")
    assert (tmp_path / "empty.png").is_file()


def test_more_rows_than_a_palette_has_colours_are_told_apart():
    rows = [ROWS[0] | {"format": f"format_{number}"} for number in range(14)]
    left, _ = chart.draw(rows).axes
    assert len({tuple(colour) for colour in left.collections[0].get_facecolors()}) == 14
