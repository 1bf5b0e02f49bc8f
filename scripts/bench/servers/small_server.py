"""Server with a smaller built-in model, of one step: `python -m scripts.bench.servers.small_server FLAGS`.

An attack is to find what the server itself spends on it. With the model as it ships two streams take all of
a small machine, and frame rates would tell of that alone.
"""

from dataclasses import replace

from scripts.bench.servers.loopback_ice import ice_on_loopback
from streaming.checkpoints.presets import EMBEDDED, PRESETS

HEIGHT, WIDTH = 64, 112
STEPS = (1000,)


def use_small_model() -> None:
    """From now on, in this process, the built-in model is the small one."""
    sampler = replace(EMBEDDED.sampler, denoising_step_list=STEPS)
    PRESETS[EMBEDDED.name] = replace(EMBEDDED, height=HEIGHT, width=WIDTH, sampler=sampler)


def serve_small(name: str) -> None:
    """`depthlive serve` with what the command line has, which calls itself `name`.

    It offers 127.0.0.1 if there is nothing else.
    """
    from server.__main__ import depthlive  # here: whoever wants the small model alone runs no command line

    use_small_model()
    with ice_on_loopback():
        depthlive("serve", name=name)


if __name__ == "__main__":
    serve_small("python -m scripts.bench.servers.small_server")
