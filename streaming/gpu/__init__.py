"""Ways to run networks faster on a GPU: fused blocks, CUDA graphs, a side stream, compilation."""
