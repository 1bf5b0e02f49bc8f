"""Networks: weights and arithmetic, without memory of any stream."""
