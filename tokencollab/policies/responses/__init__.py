"""Whole answers of several models made into one: state machines over frozen values, as in `policies`, a level up.

`response_methods` is what the rest of the system uses: methods by name, and the machine that carries one out.
"""
