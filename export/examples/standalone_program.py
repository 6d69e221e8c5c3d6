"""The program that classifies a picture by the C source of a run."""

from export.examples.c_text import c_comment
from export.examples.program_facts import ProgramFacts
from export.examples.source_templates import fill_template

NAME = "classify.c"


def format_program(facts: ProgramFacts) -> dict[str, str]:
    """Formats classify.c: its text by its name."""
    text = fill_template(
        NAME,
        origin=f"/* {c_comment(facts.origin)} */",
        resize=facts.resize.upper(),
        **facts.threshold_values(),
        pixels=fill_template("pixels.c"),
    )
    return {NAME: text}
