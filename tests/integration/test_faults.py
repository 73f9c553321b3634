"""Real engines that fail in the middle: a model and its copy write what the model alone writes."""
