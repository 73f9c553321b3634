"""The interactive prompt: questions, answers that show who backed every piece, and commands to look into them."""
