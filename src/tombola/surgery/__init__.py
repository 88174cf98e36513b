"""What a run starts from: values of kept and of pruned weights."""
