"""Command line: flags, messages and exit codes."""
