"""What Python calls: runs and measurements described, handed to the engine, and gathered side by side."""
