"""A platform: models in a Ray cluster that several programs share."""
