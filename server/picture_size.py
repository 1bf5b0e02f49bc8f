"""Size of the pictures, as people write it: 832x480."""

import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

EXPECTED = "expected WIDTHxHEIGHT in pixels, as 832x480"


def read_size(value: Any) -> Any:
    """Make (832, 480) of "832x480"; what is no text stays. Raises ValueError for another text."""
    if not isinstance(value, str | int):
        return value
    found = re.fullmatch(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})", str(value).strip())
    if found is None:
        raise ValueError(EXPECTED)
    return tuple(map(int, found.groups()))


PictureSize: TypeAlias = Annotated[tuple[int, int], BeforeValidator(read_size)]  # width, height
