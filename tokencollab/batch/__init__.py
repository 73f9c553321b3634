"""Many prompts from a file, their answers into another: `prompts` reads, `record` keeps, `run` does the work."""
