"""Answers that a request may get before it reaches its endpoint: each middleware tells its own.

    @web.middleware
    @may_answer(Answer(421, "The host name is unknown."))
    async def check(request, handler): ...

The OpenAPI document collects them: see `server/http/openapi.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

ATTRIBUTE = "answers_before_endpoints"
Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path, as the OpenAPI document has them."""

    method: str  # in upper case
    path: str  # as the route was made with it
    reads_body: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """In plain words; `about`: when. `of`: the operations that may get it."""

    status: int
    about: str
    of: Callable[[Operation], bool] = lambda operation: True


def may_answer(*answers: Answer) -> Callable[[Function], Function]:
    """Decorates what gives these."""

    def decorate(function: Function) -> Function:
        setattr(function, ATTRIBUTE, answers)
        return function

    return decorate


def answers_of(given: Iterable[object]) -> tuple[Answer, ...]:
    """Of all of these. Raises AttributeError if one of them was not decorated."""
    return tuple(answer for one in given for answer in getattr(one, ATTRIBUTE))
