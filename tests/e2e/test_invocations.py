"""Every recorded event, given to the built function as `sam local invoke` gives it, over engines of its own; and what the
function answers and does is compared with what is written beside the event. See invocations/recorded.py.
"""

import json
import shutil
from pathlib import Path

import pytest

from invocations import functions, recorded
from invocations.engines import Engines
from invocations.functions import Functions
from stack import REPOSITORY

SCRATCH = REPOSITORY / "target/invocations"
PARTS_OF_AN_EVENT = ("source", "detail-type", "detail")


@pytest.fixture(scope="session")
def told() -> dict[str, dict]:
    return functions.as_sam_runs_them()


@pytest.fixture(scope="session")
def rie() -> Path:
    return functions.emulator()


class World:
    def __init__(self, told: dict[str, dict], rie: Path, scratch: Path):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self.scratch = scratch
        self.engines = Engines(scratch)
        self.functions = Functions(told, rie, self.engines, scratch)

    def stop(self) -> None:
        self.functions.stop()
        self.engines.stop()

    def happens(self, step: str | dict[str, str]) -> None:
        match step:
            case {"completed": batch_id}:
                self.engines.wait_for_batch(batch_id)
            case {"due": "all"}:
                self.engines.make_all_due()
            case str():
                answer = self.functions.invoke(step)
                if "errorType" in answer or answer.get("statusCode", 200) != 200:
                    pytest.fail(f"{step}.json, which comes before: {json.dumps(answer)}", pytrace=False)
            case _:
                raise AssertionError(f"no such step: {step}")

    def came_of(self, answer: object) -> dict:
        """In the words of recorded.py."""
        told = [json.loads(message["Body"]) for message in self.engines.queued("bus-events")]
        return {
            "answer": answer,
            "queue": sorted(message["id"] for message in self.messages()),
            "bus": [{part: event[part] for part in PARTS_OF_AN_EVENT} for event in told],
            "balances": self.engines.balances(),
        }

    def unlike_the_queue(self, name: str) -> list[str]:
        """What an event holds for the worker is what was put on the queue, but for the time."""
        queued = {message["id"]: message for message in self.messages()}
        found = []
        for index, record in enumerate(json.loads(recorded.event(name))["Records"]):
            if record["messageAttributes"]:  # somebody else's have none
                given = json.loads(record["body"]) | {"time": "<time>", "attributes": attributes(record)}
                found += recorded.differences(given, queued.get(given["id"]), f"{name}.json.Records[{index}]")
        return found

    def messages(self) -> list[dict]:
        return [json.loads(it["Body"]) | {"attributes": attributes(it)} for it in self.engines.queued("events")]


def attributes(message: dict) -> dict[str, str]:
    """Of a message as SQS gives it, or as the worker gets it."""
    given = message.get("MessageAttributes") or message["messageAttributes"]
    return {name: attribute.get("StringValue") or attribute["stringValue"] for name, attribute in given.items()}


@pytest.fixture
def world(request: pytest.FixtureRequest, told: dict[str, dict], rie: Path):
    made = World(told, rie, SCRATCH / request.node.callspec.id)
    yield made
    made.stop()


@pytest.mark.parametrize("name", sorted(recorded.names(recorded.EVENTS)))
def test_what_comes_of_an_event_is_what_is_written_beside_it(world: World, name: str) -> None:
    expected = recorded.expected(name)
    for step in expected.after:
        world.happens(step)
    differences = world.unlike_the_queue(name) if name.startswith("event-worker-") else []
    came = world.came_of(world.functions.invoke(name))
    written = {part: getattr(expected, part) for part in came}
    differences += recorded.differences(written, came, f"{name}.json")
    if differences:
        pytest.fail("\n".join([*differences, f"the logs are in {world.scratch}"]), pytrace=False)
