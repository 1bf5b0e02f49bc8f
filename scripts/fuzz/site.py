"""Server under attack as its attackers see it: what they ask, and a tally of what they are told."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from scripts.fuzz.targets import PYTHONS_OWN

ANSWER_S = 60.0
MOST_WORDS = 300
# Of the server's own: a path of its machine, or a value as Python writes it.
TELLTALE = re.compile(
    rf"{PYTHONS_OWN.pattern}|site-packages|\.py\b|/(?:home|usr|tmp|root|var|opt)/|\bNone\b|\bb'|\['|\{{'"
)
NO_ANSWER = "none"
CLOSED = "closed"


@dataclass(slots=True)
class Tally:
    """What came of one kind of input."""

    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter[str])  # by class: 2xx, 4xx, closed, none, error
    faults: dict[str, str] = field(default_factory=dict[str, str])  # one example of each, by its words
    inputs: dict[str, bytes] = field(default_factory=dict[str, bytes])  # that it came of

    def heard(self, status: int, words: str, data: bytes) -> None:
        """An answer by HTTP."""
        self.answers[f"{status // 100}xx"] += 1
        if status >= 500 and status != 503:
            self.fault(f"{status}: {words}", data)
        if status >= 400 and not words.strip():
            self.fault(f"{status} without words", data)
        self.read(words, data)

    def told(self, text: str, data: bytes) -> None:
        """A message on a socket or data channel."""
        message = json.loads(text)
        is_error = message["type"] == "error"
        self.answers["error" if is_error else "message"] += 1
        if is_error and (message["code"] == "internal" or not message["message"].strip()):
            self.fault(text, data)
        if is_error:
            self.read(message["message"], data)

    def read(self, words: str, data: bytes) -> None:
        """Words that tell what they should not are a fault, unless they are the input's own."""
        found = TELLTALE.search(words)
        if found is not None and found[0].encode() not in data:
            self.fault(words, data)

    def fault(self, words: str, data: bytes) -> None:
        key = re.sub(r"[0-9A-Fa-f]{2,}", "#", words[:MOST_WORDS])
        self.faults.setdefault(key, words[:MOST_WORDS])
        self.inputs.setdefault(key, data)


@dataclass(frozen=True, slots=True)
class Site:
    """Where to attack, and the tally of this kind."""

    url: str
    http: aiohttp.ClientSession
    tally: Tally

    async def ask(
        self, method: str, path: str, data: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and words; status 0 where the connection is closed instead, or nothing comes."""
        self.tally.sent += 1
        try:
            async with self.http.request(method, self.url + path, data=data, headers=headers) as response:
                words = await response.text(errors="replace")
                self.tally.heard(response.status, words, data)
                return response.status, response.headers, words
        except TimeoutError:
            self.tally.answers[NO_ANSWER] += 1
            self.tally.fault(f"{method} {path.partition('?')[0]}: no answer in {ANSWER_S:g} s", data)
        except aiohttp.ClientError:
            self.tally.answers[CLOSED] += 1
        return 0, {}, ""

    async def forget(self, location: str) -> None:
        """DELETE, which is not counted."""
        async with self.http.delete(self.url + location):
            pass

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.http.ws_connect(self.url + path, max_msg_size=0) as socket:
            yield socket


@asynccontextmanager
async def site(url: str, tally: Tally) -> AsyncIterator[Site]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        yield Site(url, http, tally)


async def session_of(socket: aiohttp.ClientWebSocketResponse) -> str:
    """The id that the server's `hello` has. Raises ConnectionError where the socket is closed before."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            hello: dict[str, Any] = json.loads(message.data)
            if hello["type"] == "hello":
                return hello["session"]
    raise ConnectionError(f"refused with {socket.close_code}")
