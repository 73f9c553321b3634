"""Bytewise voting: models with different tokenizers vote byte by byte (docs/specification.md section 9).

`branch`: the masses behind a model's next byte. `voter`: a model's weight and its boundaries. `decision`: the vote and
the certificate of exactness. `voting`: the course of a vote, as the machine runs it.
"""
