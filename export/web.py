"""Writes a run as a page that classifies pictures in a browser, offline.

Synopsis::

    python -m export.web          # runs/latest/export/web/index.html
    python -m export.web --serve  # the same, and a server for it on this machine

Any server of static files can serve the folder; no picture leaves the browser.
LiteRT.js comes from npm, once.
"""

import contextlib
from typing import NoReturn

from absl import flags

from export import export_flags
from export.artifact.number_formats import Scheme
from export.browser import litert_js, page_server
from export.browser.page_options import PAGE_SCHEMES, PageOptions
from export.examples import next_step
from trainer.cli import command
from trainer.errors import InvalidConfig
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    where = {"flag_values": values, "module_name": "The page"}
    export_flags.define_scheme(values, PAGE_SCHEMES, "The page")
    flags.DEFINE_integer(
        "page_images",
        None,
        "Test images in the page, which a browser verifies. Default: up to 200.",
        **where,
    )
    flags.DEFINE_bool("serve", False, "Serves the page until Ctrl-C.", **where)
    flags.DEFINE_integer("port", 8000, "Of the server; 0: any free one.", **where)
    return export_flags.define(values)


def main(values: flags.FlagValues) -> None:
    """Exports the page, prints where it is, and serves it if asked."""
    if values["port"].present and not values.serve:
        raise InvalidConfig(f"port={values.port} says nothing without `serve`")
    options = PageOptions(Scheme(values.scheme), values.page_images)
    with contextlib.ExitStack() as stack:
        bound = None
        if values.serve:  # before the work begins
            bound = stack.enter_context(page_server.bind(values.port))
        request = export_flags.parse_request(values, folders=True)
        runtime = litert_js.load_runtime()
        with native_output.loading_libraries():
            from export.browser import page_writer
        made = page_writer.export_page(request, options, runtime)
        print(made.summary())
        if bound is None:
            print(next_step.describe(made))
        else:
            page_server.serve(made.path, bound)


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.web",
        "Writes a run as a page that classifies pictures in a browser.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
