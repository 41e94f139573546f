"""The fixtures: an emulated AWS with two stacks of the unmodified template, each with a simulated Rightfoot of its own."""

import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))
sys.dont_write_bytecode = True
pytest.register_assert_rewrite("bus_listener", "stack", "scheduled_work")

from bus_listener import BusListener  # noqa: E402
from emulator import Emulator  # noqa: E402
from fynapse_simulator import SUBSCRIPTION_ID, FynapseSimulator  # noqa: E402
from rightfoot_simulator import RightfootSimulator  # noqa: E402
from scheduled_work import ScheduledWork  # noqa: E402
from stack import REPOSITORY, Stack  # noqa: E402

SCRATCH = REPOSITORY / "target/e2e"
log = logging.getLogger("e2e")


class Deployment(NamedTuple):
    stack: Stack
    second_stack: Stack
    scheduled_work: ScheduledWork


def pytest_configure() -> None:
    # SIGTERM, too, tears the fixtures down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for verbose in ("boto3", "botocore", "urllib3"):
        logging.getLogger(verbose).setLevel(logging.WARNING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def tools() -> dict[str, Path]:
    """The programs that the tests run. `run` sets the environment variables."""
    return {
        **{tool: Path(os.environ["E2E_TOOLS"]) / tool for tool in ("sam", "aws", "cargo-lambda")},
        "inboxctl": Path(os.environ["E2E_INBOXCTL"]),
        "local": REPOSITORY / "target/debug/local",
    }


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest):
    shutil.rmtree(SCRATCH, ignore_errors=True)
    emulator = Emulator(SCRATCH).start()
    log.info("emulated AWS at %s", emulator.endpoint)
    yield emulator
    try:
        save_function_logs(emulator)
    finally:
        emulator.stop()
    if request.session.testsfailed:
        log.info("logs of the emulator, the functions and the tools: %s", SCRATCH)


def save_function_logs(emulator: Emulator) -> None:
    logs = Stack("", emulator, {}).client("logs")
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in (it["logGroupName"] for it in page["logGroups"]):
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            lines = [event["message"] for page in pages for event in page["events"]]
            name = group.strip("/").replace("/", "-")
            (SCRATCH / f"{name}.log").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def rightfoot(aws: Emulator, tools: dict[str, Path]):
    """The Rightfoot of `stack`. It sends every webhook."""
    simulator = RightfootSimulator(tools["local"], SCRATCH / "rightfoot.log", lost_webhooks_pct=0)
    yield simulator
    simulator.stop()


@pytest.fixture(scope="session")
def second_rightfoot(aws: Emulator, tools: dict[str, Path]):
    """The Rightfoot of `second_stack`. It loses every webhook."""
    simulator = RightfootSimulator(tools["local"], SCRATCH / "second-rightfoot.log", lost_webhooks_pct=100)
    yield simulator
    simulator.stop()


@pytest.fixture(scope="session")
def fynapse(aws: Emulator, tools: dict[str, Path]):
    """A Fynapse whose list of deliveries `stack` checks."""
    simulator = FynapseSimulator(SCRATCH / "fynapse")
    yield simulator
    simulator.stop()


@pytest.fixture(scope="session")
def deployment(
    aws: Emulator, tools: dict[str, Path], rightfoot: RightfootSimulator, second_rightfoot: RightfootSimulator,
    fynapse: FynapseSimulator,
) -> Deployment:
    frequent_polls = {"PollFirstSecs": "60", "PollEverySecs": "60"}
    fynapse_api = {"FynapseApiUrl": fynapse.url, "FynapseSubscriptionId": SUBSCRIPTION_ID}
    stack = Stack.create("inbox", aws, tools, RightfootApiUrl=rightfoot.url, **frequent_polls, **fynapse_api)
    stack.put_secret("FynapseApiCredentialsArn", fynapse.credentials)
    second_stack = Stack.create("second", aws, tools, RightfootApiUrl=second_rightfoot.url, **frequent_polls)
    return Deployment(stack, second_stack, ScheduledWork(stack, second_stack))


@pytest.fixture(scope="session")
def stack(deployment: Deployment) -> Stack:
    """The first stack, with every function. Its Rightfoot sends every webhook."""
    return deployment.stack


@pytest.fixture(scope="session")
def second_stack(deployment: Deployment) -> Stack:
    """The second stack. Its Rightfoot loses every webhook."""
    return deployment.second_stack


@pytest.fixture(scope="session")
def scheduled_work(deployment: Deployment) -> ScheduledWork:
    return deployment.scheduled_work


@pytest.fixture(scope="session")
def bus(scheduled_work: ScheduledWork) -> BusListener:
    """Listens on the bus of `stack`."""
    return scheduled_work.bus


@pytest.fixture(scope="session")
def second_bus(scheduled_work: ScheduledWork) -> BusListener:
    """Listens on the bus of `second_stack`."""
    return scheduled_work.second_bus


@pytest.fixture
def stack_with_fast_retries(second_stack: Stack):
    """The second stack with a visibility timeout of 2 s instead of nine minutes."""
    with second_stack.queue_attributes(VisibilityTimeout="2"):
        yield second_stack
