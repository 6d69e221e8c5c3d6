"""Pages of a report and of a comparison: what each section shows, in which words."""
