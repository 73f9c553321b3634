"""What to decide: pure state machines over frozen dataclasses. No I/O, no clock, no chance, no models."""
