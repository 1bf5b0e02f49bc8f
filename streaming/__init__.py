"""Causal, depth-guided video generation, one chunk at a time. Knows torch and nothing of networks or servers.

Shape key, used in every docstring: B batch, T frames (RGB), F latents (VAE time steps), C channels,
H W pixels or latent grid, L tokens, S tokens of one latent, N heads, D head size, E model width.
Pixels are in [-1, 1] unless a docstring says otherwise; videos are (B, T, 3, H, W) and latents
(B, F, C, H, W).
"""
