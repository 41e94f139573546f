"""The recorded events and their expected results. `answers/<event>.json` has these fields:

    after     steps before the event, in order: the name of another event to invoke; {"completed": BATCH} to wait until Rightfoot
              has completed the batch; or {"due": "all"} to make all waiting items due
    answer    the function's response
    queue     the ids of the messages on the queue `events` afterwards
    bus       the events published on the bus by then
    balances  the items of the table `balances` afterwards

The last three are empty by default. A text may contain the `PLACEHOLDERS`, which match any text of their form.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack import REPOSITORY

EVENTS = REPOSITORY / "tests/fixtures/events"
ENV_FILE = EVENTS / "env.json"
ANSWERS = EVENTS / "answers"
PLACEHOLDERS = {"<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<seconds>": r"\d+", "<millis>": r"\d{15}"}


@dataclass
class ExpectedResult:
    answer: Any
    after: list[str | dict[str, str]] = field(default_factory=list)
    queue: list[str] = field(default_factory=list)
    bus: list[dict] = field(default_factory=list)
    balances: list[dict] = field(default_factory=list)


def event_names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.json")} - {ENV_FILE.stem}


def event(name: str) -> str:
    return (EVENTS / f"{name}.json").read_text()


def expected_result(name: str) -> ExpectedResult:
    return ExpectedResult(**json.loads((ANSWERS / f"{name}.json").read_text()))


def function_of(name: str, functions: Collection[str]) -> str:
    """The function that an event is for. The event's name begins with the function's."""
    matches = [function for function in functions if name.startswith(f"{function}-")]
    assert len(matches) == 1, f"{name}.json: its name begins with the name of no function: {sorted(functions)}"
    return matches[0]


def differences(expected: Any, actual: Any, path: str) -> list[str]:
    """Every place where two JSON values differ, with its path."""
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        return [it for key in expected for it in differences(expected[key], actual[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual))
        return [it for index, (one, other) in pairs for it in differences(one, other, f"{path}[{index}]")]
    return [] if matches(expected, actual) else [f"{path}: expected {json.dumps(expected)}, got {json.dumps(actual)}"]


def matches(expected: Any, actual: Any) -> bool:
    if not isinstance(expected, str) or not any(placeholder in expected for placeholder in PLACEHOLDERS):
        return type(expected) is type(actual) and expected == actual
    parts = re.split("(" + "|".join(PLACEHOLDERS) + ")", expected)
    return re.fullmatch("".join(PLACEHOLDERS.get(part, re.escape(part)) for part in parts), str(actual)) is not None
