"""Sound over real HTTP and WebRTC: a publisher's comes back, and to who watches, and into recordings."""

import asyncio
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from server.settings import load_settings
from tests.server.running import CAMERA_FPS, Viewer, running_server, until
from tests.server.transport.test_peer_registry import id_of
from tests.server.webrtc.watching import Watcher

BLOCK, RATE_HZ = 960, 48_000


@pytest.fixture
def settings():
    return load_settings({"max_fps": CAMERA_FPS})


class Microphone(MediaStreamTrack):
    """A tone of 440 Hz."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._began = asyncio.get_running_loop().time()
        self.count = 0

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self.count += 1
        await asyncio.sleep(self._began + self.count * BLOCK / RATE_HZ - asyncio.get_running_loop().time())
        times = (self.count * BLOCK + np.arange(BLOCK)) / RATE_HZ
        wave = np.rint(10_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self.count * BLOCK, Fraction(1, RATE_HZ)
        return frame


def is_heard(frames: list) -> bool:
    """Whether the newest half second is a tone of 440 Hz."""
    newest = [one for one in frames if isinstance(one, AudioFrame)][-25:]
    if len(newest) < 25:
        return False
    wave = np.concatenate([one.to_ndarray().reshape(-1, 2)[:, 0] for one in newest]).astype(float)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return wave.std() > 3000 and abs(int(spectrum.argmax()) * RATE_HZ / len(wave) - 440) < 10


class Listener(Watcher):
    """Who watches with sound; what is heard is in `frames`, too."""

    def _on_track(self, track) -> None:
        async def collect() -> None:
            while True:
                try:
                    self.frames.append(await track.recv())
                except MediaStreamError:
                    return

        self._tasks.append(asyncio.create_task(collect()))


async def test_law_sound_comes_back_and_to_who_watches_and_is_recorded(server, tmp_path):
    publisher = Viewer(server.url, server.http)
    publisher.pc.addTransceiver(Microphone(), direction="sendrecv")
    listener = None
    try:
        await publisher.connect()
        await publisher.live()
        listener = await Listener(server, id_of(publisher), audio=True).connect()
        await until(lambda: is_heard(publisher.frames), "the tone comes back")
        await until(lambda: is_heard(listener.frames), "the tone for who watches")
        assert any(isinstance(frame, VideoFrame) for frame in publisher.frames)
        publisher.send({"type": "record.start", "id": "1"})
        await until(
            lambda: (
                publisher.received("recording")[-1:] and publisher.received("recording")[-1]["seconds"] > 1.5
            ),
            "two seconds",
        )
        publisher.send({"type": "record.stop", "id": "2"})
        name = (await publisher.message("recording", state="stopped"))["name"]
        async with server.http.get(f"{server.url}/sessions/{id_of(publisher)}/recordings/{name}") as response:
            (tmp_path / "a.mp4").write_bytes(await response.read())
        with av.open(str(tmp_path / "a.mp4")) as file:
            assert [one.codec_context.name for one in file.streams] == ["h264", "aac"]
            waves = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
        wave = np.concatenate(waves)[RATE_HZ // 2 : RATE_HZ]
        assert abs(int(np.abs(np.fft.rfft(wave)).argmax()) * 2 - 440) < 30
    finally:
        if listener is not None:
            await listener.close()
        await publisher.close()


async def test_law_without_a_microphone_there_is_no_sound_anywhere(server, tmp_path):
    publisher = Viewer(server.url, server.http)
    publisher.pc.addTransceiver("audio", direction="sendrecv")
    try:
        await publisher.connect()
        await publisher.live()
        await until(lambda: len(publisher.frames) > 30, "pictures")
        assert all(isinstance(frame, VideoFrame) for frame in publisher.frames)
        publisher.send({"type": "record.start", "id": "1"})
        await publisher.message("recording", state="recording")
        shown = len(publisher.frames)
        await until(lambda: len(publisher.frames) > shown + 30, "pictures")
        publisher.send({"type": "record.stop", "id": "2"})
        name = (await publisher.message("recording", state="stopped"))["name"]
        async with server.http.get(f"{server.url}/sessions/{id_of(publisher)}/recordings/{name}") as response:
            (tmp_path / "a.mp4").write_bytes(await response.read())
        with av.open(str(tmp_path / "a.mp4")) as file:
            assert [one.codec_context.name for one in file.streams] == ["h264"]
    finally:
        await publisher.close()


async def test_law_a_server_without_audio_takes_none(settings, engine):
    async with running_server(settings.model_copy(update={"audio": False}), engine) as server:
        publisher, microphone = Viewer(server.url, server.http), Microphone()
        publisher.pc.addTransceiver(microphone, direction="sendrecv")
        try:
            await publisher.connect()
            await publisher.live()
            await until(lambda: len(publisher.frames) > 30, "pictures")
            assert microphone.count == 0 and all(isinstance(one, VideoFrame) for one in publisher.frames)
        finally:
            await publisher.close()
