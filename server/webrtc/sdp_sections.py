"""Sections of an SDP text: attributes by name, of the session and of each m-line, with nothing left out.

Reading them takes time in proportion to the text, whatever it says. Lines that nobody asks for harm nobody.
"""

import re
from dataclasses import dataclass, field

from server.quotation import shown

MAX_LINES = 2000  # a browser's offer of a camera and data channels has about 150
MAX_MEDIA = 64
MAX_M_LINE = 2048  # characters; 128 payload types take 450
M_LINE = re.compile(r"m=([!-~]{1,64}) +([0-9]{1,5})(?:/[0-9]{1,5})? +([!-~]{1,64})((?: +[!-~]{1,255})*) *")
TOKEN = re.compile(r"[!-~]{1,256}")
LINE_END = re.compile(r"\r\n|\n|\r")


class InvalidOffer(Exception):
    """The offer cannot be accepted; the text says why."""


class Attributes:
    """The `a=` lines of one section, by name, in order."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def add(self, line: str) -> None:
        """`line` is without its `a=`."""
        name, _, value = line.partition(":")
        self._values.setdefault(name.strip(), []).append(value.strip())

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        """The values of all lines of this name; "" for a line without one."""
        return self._values.get(name, [])

    def first(self, name: str) -> str | None:
        return self._values.get(name, [None])[0]

    def by_payload(self, name: str) -> dict[int, str]:
        """Of lines like `a=fmtp:96 x`: what is said of each payload type, the last word of each."""
        found: dict[int, str] = {}
        for value in self.all(name):
            number, _, rest = value.partition(" ")
            if number.isascii() and number.isdigit() and len(number) <= 3:
                found[int(number)] = rest.strip()
        return found


@dataclass(slots=True, eq=False)
class Media:
    """One m-line as it was offered, with its attributes. Equal to itself alone."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    attributes: Attributes = field(default_factory=Attributes)
    mid: str | None = None  # None if it has none, or one that is another's

    @property
    def payload_types(self) -> list[int]:
        """Its formats that are numbers, each once."""
        numbers = (int(one) for one in self.formats if one.isascii() and one.isdigit() and len(one) <= 3)
        return list(dict.fromkeys(numbers))


@dataclass(slots=True)
class Sections:
    """A whole description."""

    session: Attributes = field(default_factory=Attributes)
    media: list[Media] = field(default_factory=list[Media])
    bundles: dict[str, list[Media]] = field(default_factory=dict[str, list[Media]])  # by the mid of each

    def bundle(self, media: Media) -> list[Media]:
        """Who shares a transport with this one, itself too, in the order of the group; [] if nobody does."""
        return self.bundles.get(media.mid or "", [])


def read_sections(text: str) -> Sections:
    """Read an SDP text. Raises InvalidOffer for what is none, or is too long."""
    text = text.removeprefix("\ufeff")
    if not text.startswith("v=0"):
        raise InvalidOffer("this is no SDP: expected it to begin with v=0")
    lines = LINE_END.split(text)
    if len(lines) > MAX_LINES + 1:  # what follows the last line's end
        raise InvalidOffer(f"the offer has {len(lines)} lines, expected at most {MAX_LINES}")
    sections = Sections()
    current = sections.session
    for number, line in enumerate(lines, 1):
        if line.startswith("m="):
            found = M_LINE.fullmatch(line) if len(line) <= MAX_M_LINE else None
            if found is None:
                raise InvalidOffer(
                    f'this is no SDP: line {number} is "{shown(line)}", expected m=KIND PORT PROTOCOL FORMATS'
                )
            if len(sections.media) == MAX_MEDIA:
                raise InvalidOffer(f"the offer has too many m= lines, expected at most {MAX_MEDIA}")
            media = Media(found[1], int(found[2]), found[3], found[4].split())
            sections.media.append(media)
            current = media.attributes
        elif line.startswith("a="):
            current.add(line[2:])
    by_mid: dict[str, Media] = {}
    for media in sections.media:
        mid = media.attributes.first("mid")
        if mid is not None and TOKEN.fullmatch(mid) and by_mid.setdefault(mid, media) is media:
            media.mid = mid
    for group in sections.session.all("group"):
        semantics, *mids = group.split(None, MAX_MEDIA + 1)[: MAX_MEDIA + 1] or [""]
        if semantics == "BUNDLE":
            members = [by_mid[mid] for mid in dict.fromkeys(mids) if mid in by_mid]
            for mid in mids:
                sections.bundles.setdefault(mid, members)
    return sections
