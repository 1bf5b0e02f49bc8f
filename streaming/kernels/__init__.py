"""Kernels below the networks: attention, fp8 products, convolutions. They know no network."""
