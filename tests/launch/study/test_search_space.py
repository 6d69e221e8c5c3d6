"""Values of flags: what a text or a file means, what a grid has, what is refused."""

import pytest

from launch.command_line import UsageError
from launch.study import search_space
from launch.study.search_space import SearchSpace, parse_space, parse_try


def test_a_range_is_parsed_and_described():
    found = parse_try("learning_rate=log:1e-4:1e-1/4")
    assert (found.type, found.bounds, found.log) == ("float", (1e-4, 1e-1), True)
    assert found.grid() == [1e-4, 1e-3, 1e-2, 1e-1]
    again = search_space.from_json({"learning_rate": found.to_json()})
    assert again.parameters == (found,)


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("a=int:1:7:3", [1, 4, 7]),
        ("a=int:1:8:3", [1, 4, 7]),
        ("a=int:2:4", [2, 3, 4]),
        ("a=int:0:100/3", [0, 50, 100]),
        ("a=logint:1:100/3", [1, 10, 100]),
        ("a=float:0:1/3", [0.0, 0.5, 1.0]),
        ("a=1,x,0.5,010", [1, "x", 0.5, "010"]),
        ("a=true,false", ["true", "false"]),
    ],
)
def test_a_grid_has_the_values(text, grid):
    assert parse_try(text).grid() == grid


def test_values_become_arguments():
    space = parse_space(["learning_rate=log:1e-4:1e-1", "model_kwargs.width=1,2"], None)
    values = {"learning_rate": 0.001, "model_kwargs.width": 2}
    assert space.arguments(values) == [
        "--learning_rate=0.001",
        "--model_kwargs=width=2",
    ]


def test_a_file_says_the_same_as_flags(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "[learning_rate]\ntype = 'float'\nrange = [1e-4, 1e-1]\nlog = true\n"
        "[model_kwargs.width]\nchoices = [0.5, 1]\n"
        "[global_batch]\nrange = [32, 96]\nstep = 32\n"
    )
    told = ["learning_rate=log:1e-4:1e-1", "model_kwargs.width=0.5,1"]
    told.append("global_batch=int:32:96:32")
    assert parse_space([], str(path)) == parse_space(told, None)
    more = parse_space(["momentum=0.5,0.9"], str(path))
    assert [each.flag for each in more.parameters][-1] == "momentum"


def test_a_grid_varies_the_last_parameter_fastest():
    rows = parse_space(["a=1,2", "b=3,4"], None).grid()
    assert [(row["a"], row["b"]) for row in rows] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert SearchSpace(()).grid() == [{}]


def test_what_is_checked_covers_choices_ends_and_short_ranges():
    space = parse_space(["a=int:1:9:4", "b=float:0:1", "c=x,y"], None)
    rows = list(space.checked_configurations(100))
    assert len(rows) == 3 * 2 * 2
    few = list(space.checked_configurations(5))
    for name, values in {"a": {1, 5, 9}, "b": {0.0, 1.0}, "c": {"x", "y"}}.items():
        assert {row[name] for row in few} == values


BAD = {
    "learning_rate": "must be NAME=",
    "=1,2": "is not the name of a flag",
    "Learning=1,2": "is not the name of a flag",
    "a b=1,2": "is not the name of a flag",
    "a=": "needs two values",
    "a=1": "needs two values",
    "a=lgo:1:2": "needs two values",
    "a=1,,2": "empty",
    "a=1,1": "twice",
    "a=1,1.0e0,1": "twice",
    "a=log:0:1": "above 0",
    "a=log:1:x": "is not a number",
    "a=log:1": "must be NAME=",
    "a=log:1:2:3": "must be NAME=",
    "a=float:2:1": "the first one lower",
    "a=float:1:1": "the first one lower",
    "a=float:nan:1": "finite",
    "a=float:1:inf": "finite",
    "a=int:1:2.5": "whole number",
    "a=int:1:5:0": "above 0",
    "a=int:1:5:9": "no longer than",
    "a=float:0:1/1": "2 to",
    "a=float:0:1/x": "must be NAME=",
    "seed=1,2": "--seeds",
    "run_dir=a,b": "the study sets it",
    "dataset=digits,mnist": "cannot be compared",
    "model_kwargs=width=1,width=2": "model_kwargs.width",
    "optimizer.x=1,2": "is not the name of a flag",
    "a=\udcff,b": "UTF-8",
}


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_bad_texts_are_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_try(text)
    assert BAD[text] in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[a", "cannot be read as TOML"),
        ("a = 1", "must be a table"),
        ("[a]\n", "must be a table"),
        ("[a]\nrange = [1, 2]\nchoices = [1, 2]", "either range or choices"),
        ("[a]\nlog = true", "either range or choices"),
        ("[a]\nrange = [1]", "must be two numbers"),
        ("[a]\nrange = [1, 'x']", "must be numbers"),
        ("[a]\ntype = 'int'\nrange = [1, 2.5]", "whole ones"),
        ("[a]\ntype = 'text'\nrange = [1, 2]", "must be int or float"),
        ("[a]\nrange = [1, 2]\nlogarithmic = true", "unknown key"),
        ("[a]\nchoices = [[1], [2]]", "list of"),
        ("[a]\nchoices = [1, 2]\nlog = true", "categorical"),
        ("[model_kwargs]\nchoices = ['a=1', 'a=2']", "vary one option"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, words):
    path = tmp_path / "space.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        parse_space([], str(path))


def test_a_missing_file_and_a_parameter_twice_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        parse_space([], str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="given twice"):
        parse_space(["a=1,2", "a=3,4"], None)


def test_ranges_need_points_in_a_grid_and_grids_have_an_end():
    with pytest.raises(UsageError, match="number of points"):
        parse_space(["a=float:0:1"], None).grid()
    wide = [f"{name}=int:1:100" for name in "abc"]
    with pytest.raises(UsageError, match="at most 10,000"):
        parse_space(wide, None).grid()
