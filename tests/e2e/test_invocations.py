"""Every recorded event, invoked as `sam local invoke` does, against `local`. The response and the effects must be those that
`tests/fixtures/events/answers` has for the event.
"""

from pathlib import Path

import pytest

from invocations import function_runner, recorded_events
from invocations.emulators import Emulators
from invocations.function_runner import FunctionRunner
from invocations.world import World
from stack import REPOSITORY

SCRATCH = REPOSITORY / "target/invocations"


@pytest.fixture(scope="session")
def configurations() -> dict[str, dict]:
    return function_runner.sam_configurations()


@pytest.fixture(scope="session")
def rie() -> Path:
    return function_runner.runtime_interface_emulator()


@pytest.fixture
def world(request: pytest.FixtureRequest, configurations: dict[str, dict], rie: Path):
    def start_runner(emulators: Emulators, scratch: Path) -> FunctionRunner:
        return FunctionRunner(configurations, rie, emulators, scratch)

    world = World(SCRATCH / request.node.callspec.id, start_runner)
    yield world
    world.stop()


@pytest.mark.parametrize("name", sorted(recorded_events.event_names(recorded_events.EVENTS)))
def test_a_recorded_event_has_the_expected_response_and_effects(world: World, name: str) -> None:
    world.check(name)
