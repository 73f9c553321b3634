"""Several language models with different tokenizers write one answer together, token by token."""
