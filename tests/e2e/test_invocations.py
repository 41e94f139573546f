"""Every recorded event, invoked as `sam local invoke` does, against `local`. The response and the effects must be those that
`tests/fixtures/events/answers` has for the event.
"""

import json
import shutil
from pathlib import Path

import pytest

from invocations import function_runner, recorded_events
from invocations.emulators import Emulators
from invocations.function_runner import FunctionRunner
from stack import REPOSITORY

SCRATCH = REPOSITORY / "target/invocations"
COMPARED_EVENT_FIELDS = ("source", "detail-type", "detail")


@pytest.fixture(scope="session")
def configurations() -> dict[str, dict]:
    return function_runner.sam_configurations()


@pytest.fixture(scope="session")
def rie() -> Path:
    return function_runner.runtime_interface_emulator()


class World:
    """The functions and the emulators that they call."""

    def __init__(self, configurations: dict[str, dict], rie: Path, scratch: Path):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self.scratch = scratch
        self.emulators = Emulators(scratch)
        self.functions = FunctionRunner(configurations, rie, self.emulators, scratch)

    def stop(self) -> None:
        self.functions.stop()
        self.emulators.stop()

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


@pytest.fixture
def world(request: pytest.FixtureRequest, configurations: dict[str, dict], rie: Path):
    world = World(configurations, rie, SCRATCH / request.node.callspec.id)
    yield world
    world.stop()


@pytest.mark.parametrize("name", sorted(recorded_events.event_names(recorded_events.EVENTS)))
def test_a_recorded_event_has_the_expected_response_and_effects(world: World, name: str) -> None:
    result = recorded_events.expected_result(name)
    for step in result.after:
        world.run_step(step)
    differences = world.differences_from_queue(name) if name.startswith("event-worker-") else []
    actual = world.result(world.functions.invoke(name))
    expected = {field: getattr(result, field) for field in actual}
    differences += recorded_events.differences(expected, actual, f"{name}.json")
    if differences:
        pytest.fail("\n".join([*differences, f"logs: {world.scratch}"]), pytrace=False)
