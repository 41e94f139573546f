"""Waits that end."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(
    what: str, look: Callable[[], Found], secs: float = 30, every_secs: float = 0.3, enough: Callable[[Found], bool] = bool
) -> Found:
    """Looks until it is enough, and gives back what is seen. On failure it says what it waited for."""
    end = time.monotonic() + secs
    while True:
        found = look()
        if enough(found):
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {secs:g} s in vain for {what}; last seen: {found!r}")
        time.sleep(every_secs)
