"""Rows of bench.json for what is not a format of its own: browser, C, chip, engines."""
