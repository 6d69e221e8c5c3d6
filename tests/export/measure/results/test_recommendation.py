"""One file is recommended, and what is slow here is told."""

from export.measure.results import recommendation


def row(name: str, size: int, milliseconds: float, **changes: object) -> dict:
    found = {
        "format": name,
        "file": f"model_{name}.tflite",
        "bytes": size,
        "one_thread": {"p50_ms": milliseconds},
        "engine": {"name": "LiteRT", "kernels": "xnnpack"},
        "flips": 0,
        "images": 360,
    }
    return found | changes


ROWS = [
    row("checkpoint", 100, 0.01, file="step-12"),
    row("float32", 559_000, 0.26),
    row("dynamic", 155_000, 0.12),
    row("int8", 158_000, 0.06),
    row("int16x8", 157_000, 12.0),
    row("int8_compiled", 158_000, 0.05, engine={"api": "CompiledModel"}),
    {"format": "float16", "failed": "no kernel", "file": "model_float16.tflite"},
]


def test_the_fastest_of_the_smallest_files_is_recommended():
    best = recommendation.recommend(ROWS)
    assert recommendation.describe(best) == "int8: 158 kB, 0.06 ms, no answer changed"
    changed = recommendation.describe(best | {"flips": 2})
    assert changed.endswith("2 of 360 answers changed")
    assert recommendation.recommend(ROWS[:1] + ROWS[5:]) is None


def test_a_much_larger_file_is_not_recommended_for_its_speed():
    rows = [row("float32", 559_000, 0.03), row("int8", 158_000, 0.06)]
    assert recommendation.recommend(rows)["format"] == "int8"


def test_slow_formats_are_named():
    ((slow, fastest),) = recommendation.find_slow(ROWS)
    said = recommendation.describe_slow(slow, fastest)
    assert said.startswith(
        "int16x8 is slow on this machine: 200 times the time of int8"
    )
    assert recommendation.find_slow([]) == []
