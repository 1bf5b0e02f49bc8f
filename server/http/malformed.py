"""Requests that no endpoint can use, whichever it is: refused in words before they reach one."""

import codecs

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.answers import Answer, may_answer
from server.http.file_answer import NOTHING, FileAnswer
from server.quotation import shown

# Longer ones name no file: NAME_MAX of a system, and half of its PATH_MAX, which has to hold the folder too.
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 2048
CHARSETS = ("utf-8", "ascii", "iso8859-1")  # names of Python for what every text can be read in


@web.middleware
@may_answer(
    Answer(404, "The address is too long.", of=lambda operation: "{" in operation.path),
    Answer(415, "The body is compressed, or in an unknown charset."),
)
async def refuse_malformed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """404 for an address too long for a file, 415 for a compressed body or one in an unknown charset; let all
    else pass."""
    names = request.path.encode(errors="surrogatepass").split(b"/")
    if max(map(len, names)) > MAX_NAME_BYTES or sum(map(len, names)) > MAX_PATH_BYTES:
        raise web.HTTPNotFound(text=NOTHING)
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if coding.strip().lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text=f"Content-Encoding: got {shown(coding)}, expected none")
    charset = request.charset
    if charset is not None and not _is_known(charset):
        raise web.HTTPUnsupportedMediaType(text=f"charset: got {shown(charset)}, expected utf-8")
    try:
        response = await handler(request)
    except (web.HTTPNotFound, web.HTTPForbidden) as error:
        if error.text != f"{error.status}: {error.reason}":
            raise
        raise web.HTTPNotFound(text=NOTHING) from error  # aiohttp's own words, for a folder of the page
    return FileAnswer.of(response) if isinstance(response, web.FileResponse) else response


def _is_known(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in CHARSETS
    except (LookupError, ValueError):  # ValueError: it has a NUL
        return False
