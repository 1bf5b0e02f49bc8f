"""Answer that is a file, whole or in part: as aiohttp sends it, but never without words, and with If-Range
for entity tags."""

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from server.quotation import shown

NOTHING = "there is nothing at this address"


class FileAnswer(web.FileResponse):
    """`FileAnswer.of(response)` is what to send instead of one of aiohttp's."""

    _words = b""  # of a refusal

    @classmethod
    def of(cls, response: web.FileResponse) -> "FileAnswer":
        """Raises HTTPNotFound where there is no such file."""
        path = response._path
        if not path.is_file():
            raise web.HTTPNotFound(text=NOTHING)
        return cls(path, headers=response.headers)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Pass Range over where If-Range names another state of the file (RFC 9110, 13.1.5): aiohttp heeds
        dates alone."""
        if request.if_range is None and request.headers.get(hdrs.IF_RANGE, tag := self._tag()) != tag:
            # aiohttp cannot copy what is no UTF-8; no field that a file goes by has any.
            headers = CIMultiDict((name, value) for name, value in request.headers.items() if value.isascii())
            headers.popall(hdrs.RANGE, None)
            request = request.clone(headers=headers)
        return await super().prepare(request)

    async def _prepare_headers(self) -> None:
        if self.status >= 400:
            request = self._req
            assert request is not None, "aiohttp sets it first"
            words = _why(self.status, request).encode()
            self._words = b"" if request.method == hdrs.METH_HEAD else words
            self.content_type, self.charset = "text/plain", "utf-8"
            self.content_length = len(words)
            self.headers.popall(hdrs.CONTENT_DISPOSITION, None)
            self.headers[hdrs.CACHE_CONTROL] = "no-store"
        await super()._prepare_headers()

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data or self._words)

    def _tag(self) -> str:
        """As aiohttp has it."""
        about = self._path.stat()
        return f'"{about.st_mtime_ns:x}-{about.st_size:x}"'


def _why(status: int, request: web.BaseRequest) -> str:
    match status:
        case 412:
            name = hdrs.IF_MATCH if hdrs.IF_MATCH in request.headers else hdrs.IF_UNMODIFIED_SINCE
            return f"{name}: got {shown(request.headers[name])}, the file is another"
        case 416:
            got = shown(request.headers.get(hdrs.RANGE, ""))
            return f"Range: got {got}, expected one range of bytes within the file, as bytes=0-99"
        case _:
            return NOTHING
