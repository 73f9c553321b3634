"""From the name of a model to its files: resolved, fetched, verified, converted; and the specialists."""
