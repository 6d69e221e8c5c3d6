"""Command line: flags made from the config, messages and exit codes."""
