"""Tables and figures of evaluations, as one HTML page and as Markdown. Data frames are pandas', charts matplotlib's."""
