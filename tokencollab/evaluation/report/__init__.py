"""Tables and figures of runs, as one HTML page and as Markdown."""
