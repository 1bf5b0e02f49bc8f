"""The live server: one process, one event loop, one thread that owns the model.

Knows pictures only as uint8 arrays; everything about tensors lives in `streaming`. Three modules import
from there: `gpu_worker` (the engine), `session` (the chunk assembler) and `models_cli` (files of models).
"""
