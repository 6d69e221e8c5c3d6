"""The source files of the four packages."""

from tests.support.commands import ROOT

ALLOWED = {
    "trainer": {"trainer"},
    "eval": {"trainer", "eval"},
    "export": {"trainer", "eval", "export"},
    "launch": {"launch", "trainer"},  # of it SHARED alone
}
SHARED = {"contract", "streams"}  # modules of trainer that launch imports
SOURCES = sorted(p for name in ALLOWED for p in (ROOT / name).rglob("*.py"))
TRACKED = [
    *SOURCES,
    *(ROOT / "tests").rglob("*.py"),
    *(ROOT / "benchmarks").glob("*.py"),
]
