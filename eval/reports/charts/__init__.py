"""Charts of pages: SVG in the colours of the page, written without a library."""
