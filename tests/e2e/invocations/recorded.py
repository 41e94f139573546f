"""The recorded events, and what is written beside them: `answers/<event>.json` holds

    after     what has happened before, in order: an event that was invoked, or {"completed": BATCH} (Rightfoot is done with
              it), or {"due": "all"} (whatever waits for its time is due)
    answer    what the function answers
    queue     the ids of the events on the queue `events` then
    bus       what has been told on the bus
    balances  the rows of the table `balances`

each of the last three empty unless it says otherwise. What is in `FORMS` stands for whatever has that form.
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
FORMS = {"<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<seconds>": r"\d+", "<millis>": r"\d{15}"}


@dataclass
class Expected:
    answer: Any
    after: list[str | dict[str, str]] = field(default_factory=list)
    queue: list[str] = field(default_factory=list)
    bus: list[dict] = field(default_factory=list)
    balances: list[dict] = field(default_factory=list)


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.json")} - {ENV_FILE.stem}


def event(name: str) -> str:
    return (EVENTS / f"{name}.json").read_text()


def expected(name: str) -> Expected:
    return Expected(**json.loads((ANSWERS / f"{name}.json").read_text()))


def function_of(name: str, functions: Collection[str]) -> str:
    """The function that an event is for: its name is what the event's name begins with."""
    takers = [function for function in functions if name.startswith(f"{function}-")]
    assert len(takers) == 1, f"{name}.json: its name begins with the name of no function: {sorted(functions)}"
    return takers[0]


def differences(written: Any, came: Any, where: str) -> list[str]:
    """Where what came is not what is written."""
    if isinstance(written, dict) and isinstance(came, dict) and written.keys() == came.keys():
        return [it for key in written for it in differences(written[key], came[key], f"{where}.{key}")]
    if isinstance(written, list) and isinstance(came, list) and len(written) == len(came):
        pairs = enumerate(zip(written, came))
        return [it for index, (one, other) in pairs for it in differences(one, other, f"{where}[{index}]")]
    return [] if fits(written, came) else [f"{where}: expected {json.dumps(written)}, came {json.dumps(came)}"]


def fits(written: Any, came: Any) -> bool:
    if not isinstance(written, str) or not any(form in written for form in FORMS):
        return type(written) is type(came) and written == came
    parts = re.split("(" + "|".join(FORMS) + ")", written)
    return re.fullmatch("".join(FORMS.get(part, re.escape(part)) for part in parts), str(came)) is not None
