"""A session goes on in another process: two engines, and a journal that both know."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from server.journal.memory import MemoryJournal
from server.journal.port import JournalUnavailable, PutAnswer
from server.journal.record import Record, RecordRejected
from server.metrics import Metrics
from server.protocol.replies import SessionSettings
from server.services import Services
from server.session.journal_writer import PUT_TIMEOUT_S
from server.session.session import LiveSession
from server.session.session_record import SessionRecord
from server.settings import load_settings
from tests.server.fakes import FakeEngineModule
from tests.server.running import started_worker, until
from tests.server.running_session import CAMERA_FPS, RunningSession, rgb

pytestmark = pytest.mark.virtual_time


class Journal(MemoryJournal):
    """Notes what is put, may be down, and may keep who puts waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.is_down = False
        self.at_once = self.most_at_once = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def put(self, session: str, record: bytes) -> PutAnswer:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_answer.wait()
            if self.is_down:
                raise JournalUnavailable("it is down")
            self.records.append(Record.decode(record))
            return await super().put(session, record)
        finally:
            self.at_once -= 1

    async def stream_of(self, session: str = "abc") -> dict[str, bytes]:
        return dict(SessionRecord.decode(await self.get(session) or b"").stream)


@pytest.fixture
def settings():
    return load_settings({"prompt": "clay", "seed": 3, "max_fps": CAMERA_FPS})


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def second() -> FakeEngineModule:
    """The engine of another process."""
    return FakeEngineModule()


@pytest.fixture
async def services(settings, worker, journal) -> Services:
    return Services(settings, worker, Metrics(), journal=journal)


@asynccontextmanager
async def begun(session: LiveSession) -> AsyncIterator[RunningSession]:
    running = RunningSession(session)
    session.start()
    try:
        yield running
    finally:
        await running.close()


@asynccontextmanager
async def gone_on(settings, engine, journal: Journal) -> AsyncIterator[RunningSession]:
    """The session as another process has it of the journal."""
    async with started_worker(settings, engine) as worker:
        await worker.ready()
        record = SessionRecord.decode(await journal.get("abc") or b"")
        session = LiveSession("abc", Services(settings, worker, Metrics(), journal=journal), record)
        async with begun(session) as running:
            yield running


async def lost(running: RunningSession) -> None:
    """Its process ends, and all of it is in the journal: what was given up goes on elsewhere."""
    running.session.may_go_on_elsewhere = True
    await running.close()


def told(running: RunningSession) -> dict[str, object]:
    """What clients are told of what is in effect."""
    return running.session.view().settings.model_dump(exclude={"timeline": {"position"}})


async def test_a_session_goes_on_where_it_was(settings, services, journal, second):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        await running.applied("prompt.set", "1", text="molten gold")
        last = running.session.generation.result
        await lost(running)
    async with gone_on(settings, second, journal) as again:
        await again.live()
        assert again.of("hello")[0]["prompt"] == "molten gold" and again.of("hello")[0]["session"] == "abc"
        await until(lambda: len(again.shown) > 20, "pictures")
        first = again.session.generation.result
        assert [count for count, _ in second.steps] == [12] * len(second.steps), "it did not begin again"
        assert second.steps[0][1].prompts is None
        assert first.chunk >= last.chunk + 1 and first.first_frame > last.first_frame
        assert rgb(again.shown[-1])[1] == len("molten gold")
        await again.applied("prompt.set", "1", text="clay")


async def test_everything_that_is_in_effect_stays_so(settings, services, journal, second):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
        image = running.session.images.add(picture)
        await running.applied("guidance.set", "1", keyframes=[{"at": 0, "scale": 1}, {"at": 60, "scale": 2}])
        await running.applied("depth.set", "2", smoothing=0.5, points=[{"x": 0.1, "y": 0.2, "value": 1}])
        await running.applied("controls.set", "3", gray=0.7)
        await running.applied("references.set", "4", images=[image])
        await running.applied("mask.set", "5", image=image)
        await running.applied("region.set", "6", distance=0.4)
        await running.applied("camera_start.set", "7", noise_scale=0.9)
        await running.applied("steps.set", "8", steps=[900, 300])
        await running.applied("seed.set", "9", mode="random")
        steps = [{"at": 0, "text": "first"}, {"at": 50, "text": "then"}]
        await running.applied("timeline.set", "10", steps=steps, loop=True, duration=99)
        await asyncio.sleep(5)
        await running.applied("output.set", "11", fps=50, quality="low")
        await running.applied("freeze.set", "12", on=True)
        await running.applied("pause", "13")
        await asyncio.sleep(3)
        before, position = told(running), running.session.commands.timeline_position()
        await lost(running)
    async with gone_on(settings, second, journal) as again:
        await again.until("hello")
        assert told(again) == before
        SessionSettings.model_validate(before | {"timeline": None}, strict=False)
        assert again.session.commands.timeline_position() == position, "it stands while it is paused"
        assert np.array_equal(again.session.images.get(image), picture)
        await asyncio.sleep(3)
        assert not second.steps, "it is paused"
        await again.applied("resume", "14")
        await again.applied("mask.set", "15", image=image)
        await asyncio.sleep(2)
        assert len({rgb(frame)[2] for frame in again.shown[-20:]}) == 1, "the camera is frozen"


async def test_a_stream_that_cannot_be_restored_begins_anew_with_all_that_is_in_effect(
    settings, services, journal, second
):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        image = running.session.images.add(np.full((20, 20, 3), 9, np.uint8))
        await running.applied("prompt.set", "1", text="molten gold")
        await running.applied("references.set", "2", images=[image])
        await running.applied("steps.set", "3", steps=[900, 300])
        await running.applied("guidance.set", "4", scale=0.3)
        before = told(running)
        await lost(running)
    second.refuses_snapshots = True
    async with gone_on(settings, second, journal) as again:
        await again.live()
        count, asked = second.steps[0]
        assert count == 9 and asked.prompt == "molten gold" and asked.steps == (900, 300)
        assert asked.guidance_scale == 0.3 and len(asked.references) == 1
        await until(lambda: len(second.steps) > 2, "chunks")
        assert second.steps[1][1].prompts is None, "it is asked for all that once"
        assert told(again) == before


async def test_a_chunk_travels_alone_and_the_holder_has_the_rest(services, journal, engine):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        await until(lambda: len(journal.records) > 8, "records")
    for record in journal.records[3:]:
        assert len([name for name in record.given if name.startswith("latents/")]) <= 1 < len(record.needs)
    assert engine.snapshots_before[0] is None and None not in engine.snapshots_before[1:]


async def test_a_journal_that_does_not_answer_delays_no_chunk(services, journal, engine):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        journal.may_answer.clear()
        made, pictures = len(engine.steps), len(running.shown)
        await asyncio.sleep(PUT_TIMEOUT_S - 1)
        quick = len(engine.steps) - made
        assert journal.most_at_once == 1 and len(running.shown) > pictures
        journal.may_answer.set()
        made = len(engine.steps)
        await asyncio.sleep(PUT_TIMEOUT_S - 1)
        assert abs(len(engine.steps) - made - quick) <= 2
        await lost(running)
    assert b'"chunk": %d' % len(engine.steps) in (await journal.stream_of())["stream"], "the newest wins"
    assert journal.most_at_once == 1


async def test_a_journal_that_is_down_or_has_forgotten_gets_all_of_it_again(services, journal, caplog):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        journal.is_down = True
        await asyncio.sleep(1)
        await journal.forget("abc", 0)
        journal.is_down = False
        await asyncio.sleep(1)
        assert await journal.get("abc") is not None
        await journal.forget("abc", 0)  # as after a restart of its process, which nobody tells
        await asyncio.sleep(1)
        assert await journal.get("abc") is not None
        await running.applied("prompt.set", "1", text="gold")
    assert len([line for line in caplog.messages if "Not in the journal" in line]) == 1


async def test_a_session_that_ends_for_good_is_forgotten_and_one_that_fails_is_not(
    settings, services, journal, engine
):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        assert await journal.get("abc") is not None
    assert await journal.get("abc") is None
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        await running.applied("prompt.set", "1", text="gold")
        running.session._fail("the device can do no more work")
    record = SessionRecord.decode(await journal.get("abc") or b"")
    await LiveSession("abc", services, record).close()
    assert await journal.get("abc") is not None, "it has never begun there"


async def test_who_has_lost_the_session_to_another_process_writes_no_more(
    settings, services, journal, second
):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        await until(lambda: len(journal.records) > 1, "records")
        async with gone_on(settings, second, journal) as again:
            await again.live()
            await again.applied("prompt.set", "1", text="gold")
            await asyncio.sleep(1)
            written = len([record for record in journal.records if record.moves == 0])
            await asyncio.sleep(1)
            assert len([record for record in journal.records if record.moves == 0]) == written
            await running.close()
            assert b'"prompt": "gold"' in (await journal.stream_of())["stream"]


async def test_a_record_that_is_damaged_or_too_new_is_refused_in_words(services, journal):
    async with begun(LiveSession("abc", services)) as running:
        await running.live()
        await running.applied("pause", "1")
        await lost(running)
    data = await journal.get("abc") or b""
    whole = Record.decode(data)
    values = whole.given["session"]

    def refusal(**parts: bytes) -> str:
        with pytest.raises(RecordRejected) as refused:
            SessionRecord.decode(Record(0, whole.needs, {**whole.given, **parts}).encode())
        return str(refused.value)

    assert "version: Input should be 1" in refusal(session=values.replace(b'"version":1', b'"version":2'))
    assert "paused: Input should be a valid boolean" in refusal(
        session=values.replace(b'"paused":true', b'"paused":7')
    )
    assert "session: Invalid JSON" in refusal(session=b"{")
    assert "picture" in refusal(session=values.replace(b'"mask":null', b'"mask":"xyz"'))
    with pytest.raises(RecordRejected, match="expected all parts, got none of session"):
        SessionRecord.decode(Record(0, whole.needs, {}).encode())
