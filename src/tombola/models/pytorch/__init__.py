"""Networks that are PyTorch modules: exported by torch, replayed over NNX leaves, and given back with torch's names."""
