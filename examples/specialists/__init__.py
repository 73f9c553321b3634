"""How the small models that ship with tokencollab were made: tokenizers, data, training (docs/specialists.md)."""
