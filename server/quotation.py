"""Quotation of what a stranger has sent, in the words of a refusal."""

MAX_LETTERS = 60


def shown(text: str) -> str:
    """As much of it as a message repeats, and nothing that a terminal heeds."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_LETTERS])
