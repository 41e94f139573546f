"""One recorded event: the steps before it, its function's response, and its effects."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from . import recorded_events
from .emulators import Emulators

COMPARED_EVENT_FIELDS = ("source", "detail-type", "detail")


class Runner(Protocol):
    """Runs functions."""

    def invoke(self, name: str) -> Any:
        """Invokes a recorded event's function with it, and returns the response."""

    def stop(self) -> None: ...


class World:
    """The functions and the emulators that they call. `bind` is another address at which these are reached."""

    def __init__(self, scratch: Path, start_runner: Callable[[Emulators, Path], Runner], bind: str | None = None):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self.scratch = scratch
        self.emulators = Emulators(scratch, bind)
        self.functions = start_runner(self.emulators, scratch)

    def stop(self) -> None:
        self.functions.stop()
        self.emulators.stop()

    def check(self, name: str) -> None:
        """Invokes a recorded event's function with it, after the steps before. Fails if the response or the effects are not the
        expected ones.
        """
        result = recorded_events.expected_result(name)
        for step in result.after:
            self.run_step(step)
        differences = self.differences_from_queue(name) if name.startswith("event-worker-") else []
        actual = self.result(self.functions.invoke(name))
        expected = {field: getattr(result, field) for field in actual}
        differences += recorded_events.differences(expected, actual, f"{name}.json")
        if differences:
            pytest.fail("\n".join([*differences, f"logs: {self.scratch}"]), pytrace=False)

    def run_step(self, step: str | dict[str, str]) -> None:
        match step:
            case {"completed": batch_id}:
                self.emulators.wait_for_batch(batch_id)
            case {"due": "all"}:
                self.emulators.make_all_due()
            case str():
                response = self.functions.invoke(step)
                if "errorType" in response or response.get("statusCode", 200) != 200:
                    pytest.fail(f"{step}.json, a step before: {json.dumps(response)}", pytrace=False)
            case _:
                raise AssertionError(f"no such step: {step}")

    def result(self, response: object) -> dict:
        """The response and the effects so far, with the fields that recorded_events.py describes."""
        published = [json.loads(message["Body"]) for message in self.emulators.queued_messages("bus-events")]
        return {
            "answer": response,
            "queue": sorted(message["id"] for message in self.messages()),
            "bus": [{name: event[name] for name in COMPARED_EVENT_FIELDS} for event in published],
            "balances": self.emulators.balances(),
        }

    def differences_from_queue(self, name: str) -> list[str]:
        """Where the messages in a recorded event for the worker, apart from their times, differ from those on the queue."""
        queued = {message["id"]: message for message in self.messages()}
        differences = []
        for index, record in enumerate(json.loads(recorded_events.event(name))["Records"]):
            if record["messageAttributes"]:  # Foreign messages have none.
                recorded = json.loads(record["body"]) | {"time": "<time>", "attributes": attributes(record)}
                path = f"{name}.json.Records[{index}]"
                differences += recorded_events.differences(recorded, queued.get(recorded["id"]), path)
        return differences

    def messages(self) -> list[dict]:
        messages = self.emulators.queued_messages("events")
        return [json.loads(it["Body"]) | {"attributes": attributes(it)} for it in messages]


def attributes(message: dict) -> dict[str, str]:
    """The attributes of a message, in the form of SQS or in that of a Lambda event."""
    typed = message.get("MessageAttributes") or message["messageAttributes"]
    return {name: attribute.get("StringValue") or attribute["stringValue"] for name, attribute in typed.items()}
