"""Bounded waits."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(
    description: str,
    read: Callable[[], Value],
    timeout_secs: float = 30,
    interval_secs: float = 0.3,
    condition: Callable[[Value], bool] = bool,
) -> Value:
    """Calls `read` until the condition holds for its value, and returns the value. A timeout fails with the description and the last
    value.
    """
    deadline = time.monotonic() + timeout_secs
    while True:
        value = read()
        if condition(value):
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_secs:g} s in vain for {description}; last seen: {value!r}")
        time.sleep(interval_secs)
