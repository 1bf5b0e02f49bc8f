"""The live server: one process, one event loop, one thread that owns the model.

Knows pictures only as uint8 arrays; everything about tensors lives in `streaming`. The values there
(`streaming.api`) are used anywhere; two modules go further: `engine.thread` (the engine) and `models_cli`
(files of models).
"""
