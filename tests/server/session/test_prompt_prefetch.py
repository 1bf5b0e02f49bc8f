import asyncio
import logging

import pytest

from server.engine.errors import EngineUnavailable, InputRejected
from server.session.prompt_prefetch import PromptPrefetch


class Engine:
    def __init__(self, *errors: Exception) -> None:
        self.encoded, self.errors = [], list(errors)
        self.may_encode = asyncio.Event()

    async def encode(self, texts) -> None:
        self.encoded.append(texts)
        await self.may_encode.wait()
        if self.errors:
            raise self.errors.pop(0)


async def rest() -> None:
    """Until all that could be done by now has been."""
    for _ in range(10):
        await asyncio.sleep(0)


def prefetch_of(engine) -> PromptPrefetch:
    return PromptPrefetch(engine, logging.LoggerAdapter(logging.getLogger(__name__)))


async def test_law_at_most_one_prefetch_runs():
    engine = Engine()
    prefetch = prefetch_of(engine)
    for text in ("gold", "ice", "clay"):
        prefetch.start([text])
        await rest()
    assert engine.encoded == [["gold"]]
    engine.may_encode.set()
    await rest()
    prefetch.start(["snow"])
    await rest()
    assert engine.encoded == [["gold"], ["snow"]]
    await prefetch.close()


@pytest.mark.parametrize("error", [InputRejected("not known"), EngineUnavailable("stopped")])
async def test_what_is_wrong_with_a_prompt_is_left_to_its_chunk(error, caplog):
    engine = Engine(error)
    engine.may_encode.set()
    prefetch = prefetch_of(engine)
    prefetch.start(["reject"])
    await rest()
    prefetch.start(["gold"])
    await rest()
    await prefetch.close()
    assert not caplog.records and engine.encoded == [["reject"], ["gold"]]


async def test_a_bug_is_logged(caplog):
    engine = Engine(KeyError("a bug"))
    engine.may_encode.set()
    prefetch = prefetch_of(engine)
    prefetch.start(["gold"])
    await rest()
    assert "Encoding a prompt ahead failed" in caplog.text


async def test_closing_ends_what_runs_and_may_be_repeated():
    engine = Engine()
    prefetch = prefetch_of(engine)
    await prefetch.close()
    prefetch.start(["gold"])
    await rest()
    await prefetch.close()
    await prefetch.close()
    assert len(asyncio.all_tasks()) == 1
