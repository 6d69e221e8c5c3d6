"""Names of classes in any script end as valid source text that says the same."""

import ast
import re
import subprocess

import pytest

from export.examples import lite_programs, literals, serving_programs
from export.examples.c_text import c_string
from export.examples.literals import shown_name
from tests.support import c_projects, program_facts
from tests.support.program_facts import ODD_NAMES


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_read_back_from_its_literal(name):
    shown = shown_name(name)
    assert "\n" not in shown and "\x1b" not in shown and "\0" not in shown
    assert ast.literal_eval(literals.python_string(shown)) == shown
    for literal, escape in (
        (literals.kotlin_string(shown), r"\\u([0-9a-f]{4})"),
        (literals.swift_string(shown), r"\\u\{([0-9a-f]+)\}"),
    ):
        assert literal.isprintable()
        plain = re.sub(
            rf'\\(["\\$])|{escape}',
            lambda found: found[1] or chr(int(found[2], 16)),
            literal[1:-1],
        )
        assert plain.encode("utf-16", "surrogatepass").decode("utf-16") == shown


def test_a_dollar_sign_begins_no_template_in_kotlin():
    assert literals.kotlin_string("${x}") == r'"\${x}"'
    assert literals.swift_string(r"\(x)") == r'"\\(x)"'


@c_projects.needs_compiler
def test_c_prints_every_name(tmp_path):
    shown = [shown_name(name) for name in ODD_NAMES]
    rows = ",\n".join(map(c_string, shown))
    source = f"#include <stdio.h>\nconst char *names[] = {{{rows}}};\n"
    source += "int main(void) { for (unsigned k = 0; k < sizeof names / sizeof *names;"
    source += " ++k) puts(names[k]); return 0; }\n"
    words = ["gcc", "-x", "c", "-", "-trigraphs", "-o", tmp_path / "names"]
    subprocess.run(words, input=source.encode(), check=True)
    done = subprocess.run([tmp_path / "names"], capture_output=True, text=True)
    assert done.stdout.splitlines() == shown


def test_no_name_or_origin_ends_a_comment_or_a_line():
    facts = program_facts.facts()
    assert (
        "*/"
        not in lite_programs.format_programs("a.tflite", facts)["classify.cc"][:400]
    )
    for text in lite_programs.format_programs("a.tflite", facts).values():
        for line in text.splitlines():
            assert not re.search("[\u202e\x1b\0]", line)
    assert ast.parse(lite_programs.format_programs("a.tflite", facts)["classify.py"])


def test_a_models_name_is_part_of_an_address():
    image = program_facts.sample_image()
    texts = serving_programs.format_programs(
        "my net's/$x", program_facts.facts(), image
    )
    for name in ("classify.sh", "classify_rest.py"):
        assert "/v1/models/my%20net%27s%2F%24x:predict" in texts[name]
    ast.parse(texts["classify_rest.py"])
    subprocess.run(["sh", "-n"], input=texts["classify.sh"], text=True, check=True)
