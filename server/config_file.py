"""File of settings, in TOML."""

import tomllib
from pathlib import Path
from typing import Any


class ConfigFileError(Exception):
    """The file of settings is not TOML; the text names it and says why."""


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, not checked. Raises OSError and ConfigFileError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin it with a mark
    except UnicodeDecodeError:
        raise ConfigFileError(f"{path} is not text in UTF-8") from None
    except RecursionError:
        raise ConfigFileError(f"{path} is not valid TOML: nested too deeply") from None
    except ValueError as error:
        raise ConfigFileError(f"{path} is not valid TOML: {error}") from None
