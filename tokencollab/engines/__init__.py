"""How one model computes: text to tokens and back, KV cache, batched forward passes."""
