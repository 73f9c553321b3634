"""Text and tokens: chat templates, vocabularies, and the alignment of the shared bytes with a model's own tokens."""
