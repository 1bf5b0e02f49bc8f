"""Presets, and their published files as networks on a device."""
