"""A small hub on loopback: the routes that huggingface_hub uses, with faults to order."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

LFS_FROM = 1000  # bytes: larger files lie on another host and are named by their sha256
MAIN, MOVED = "1" * 40, "2" * 40


def digest_of(content: bytes) -> str:
    if len(content) >= LFS_FROM:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Request:
    method: str
    path: str
    range: str | None
    token: str | None
    sent: int = 0  # bytes of a file


@dataclass
class Hub:
    """What the stand-in serves; change it between pulls."""

    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)  # (repo, commit) -> files
    branches: dict[str, str] = field(default_factory=lambda: {"main": MAIN})
    refuse: tuple[int, str | None] | None = None  # status and X-Error-Code of every answer
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    busy: int = 0  # how many downloads answer 503 first
    ranges: bool = True
    damage: bool = False  # flip the last byte of what is sent
    html: bool = False  # answer like the login page of a hotel
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    cdn_url: str = ""

    def reset(self) -> None:
        self.__init__(url=self.url, cdn_url=self.cdn_url)

    def put(self, repo: str, files: dict[str, bytes], commit: str = MAIN) -> None:
        self.files[repo, commit] = files

    @property
    def downloads(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET" and request.sent]

    @property
    def bytes_sent(self) -> int:
        return sum(request.sent for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every body waits 40 ms for the acknowledgement of its head
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = Request(self.command, path, self.headers["Range"], self.headers["Authorization"])
        self.hub.requests.append(request)
        parts = path.strip("/").split("/")
        if self.hub.html:
            self._send(200, b"<html>please log in</html>")
        elif self.hub.refuse:
            status, code = self.hub.refuse
            self._send(status, b"", {"X-Error-Code": code} if code else {})
        elif parts[0] == "cdn":
            self._send_file(request, parts[1])
        elif parts[:2] == ["api", "models"]:
            self._send_info("/".join(parts[2:4]), parts[5])
        else:
            self._resolve(request, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _commit(self, repo: str, revision: str) -> str | None:
        """Sends the error itself when there is none."""
        commit = self.hub.branches.get(revision, revision)
        if (repo, commit) in self.hub.files:
            return commit
        has_repo = any(known == repo for known, _ in self.hub.files)
        self._send(404, b"", {"X-Error-Code": "RevisionNotFound" if has_repo else "RepoNotFound"})
        return None

    def _send_info(self, repo: str, revision: str) -> None:
        if (commit := self._commit(repo, revision)) is None:
            return
        siblings = []
        for path, content in self.hub.files[repo, commit].items():
            lfs = {"size": len(content), "sha256": digest_of(content), "pointerSize": 130}
            entry = {"rfilename": path, "size": len(content), "blobId": digest_of(content)}
            siblings.append(entry | ({"lfs": lfs} if len(content) >= LFS_FROM else {}))
        self._send(200, json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode())

    def _resolve(self, request: Request, repo: str, revision: str, path: str) -> None:
        if (commit := self._commit(repo, revision)) is None:
            return
        content = self.hub.files[repo, commit].get(path)
        if content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        elif len(content) < LFS_FROM:
            headers = {"X-Repo-Commit": commit, "ETag": f'"{digest_of(content)}"'}
            request.sent = len(content) if request.method == "GET" else 0
            self._send(200, content, headers)
        else:
            headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest_of(content)}"'}
            headers |= {"X-Linked-Size": str(len(content))}
            self._send(302, b"", headers | {"Location": f"{self.hub.cdn_url}/cdn/{digest_of(content)}"})

    def _send_file(self, request: Request, digest: str) -> None:
        if self.hub.busy:
            self.hub.busy -= 1
            return self._send(503, b"")
        contents = [content for files in self.hub.files.values() for content in files.values()]
        content = next(content for content in contents if digest_of(content) == digest)
        status, start = 200, 0
        if request.range and self.hub.ranges:
            status, start = 206, int(request.range.removeprefix("bytes=").removesuffix("-"))
        body = content[start:]
        if self.hub.damage:
            body = body[:-1] + bytes([body[-1] ^ 1])
        cut = self.hub.cuts.pop(0) if self.hub.cuts else None
        request.sent = len(body) if cut is None else cut
        headers = (
            {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if status == 206 else {}
        )
        self._send(status, body, headers, cut)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is what half of the tests are about."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    port = server.server_address[1]
    hub.url, hub.cdn_url = f"http://127.0.0.1:{port}", f"http://localhost:{port}"  # two hosts to a client
    try:
        yield hub
    finally:
        close_session()
        server.shutdown()
        thread.join()
        server.server_close()


def use_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """As HF_ENDPOINT does, which the library reads once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
