"""What the stories happen on: an emulated AWS with two stacks of the unmodified template, each with a Rightfoot of its own."""

import logging
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
pytest.register_assert_rewrite("bus", "stack", "started_early")

from started_early import Begun  # noqa: E402
from bus import Listener  # noqa: E402
from emulator import Emulator  # noqa: E402
from rightfoot import Rightfoot  # noqa: E402
from stack import REPOSITORY, Stack  # noqa: E402

SCRATCH = REPOSITORY / "target/e2e"
log = logging.getLogger("e2e")


def pytest_configure() -> None:
    # A run that is told to end tears everything down as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for talkative in ("boto3", "botocore", "urllib3"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("waits") is not None)


@pytest.fixture(scope="session")
def tools() -> dict[str, Path]:
    """The programs that the stories need; `run` names them."""
    return {
        **{tool: Path(os.environ["E2E_TOOLS"]) / tool for tool in ("sam", "aws", "cargo-lambda")},
        "inboxctl": Path(os.environ["E2E_INBOXCTL"]),
        "local": REPOSITORY / "target/debug/local",
    }


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest):
    shutil.rmtree(SCRATCH, ignore_errors=True)
    emulator = Emulator(SCRATCH).start()
    log.info("an emulated AWS at %s", emulator.endpoint)
    yield emulator
    try:
        keep_logs(emulator)
    finally:
        emulator.stop()
    if request.session.testsfailed:
        log.info("the logs of AWS, of every function and of every tool are kept in %s", SCRATCH)


def keep_logs(emulator: Emulator) -> None:
    logs = Stack("", emulator, {}).client("logs")
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in (it["logGroupName"] for it in page["logGroups"]):
            events = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            lines = [event["message"] for part in events for event in part["events"]]
            name = group.strip("/").replace("/", "-")
            (SCRATCH / f"{name}.log").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def rightfoot(aws: Emulator, tools: dict[str, Path]):
    """It loses no webhook."""
    simulated = Rightfoot(tools["local"], SCRATCH / "rightfoot.log", lost_pct=0)
    yield simulated
    simulated.stop()


@pytest.fixture(scope="session")
def silent_rightfoot(aws: Emulator, tools: dict[str, Path]):
    """It loses every webhook."""
    simulated = Rightfoot(tools["local"], SCRATCH / "silent-rightfoot.log", lost_pct=100)
    yield simulated
    simulated.stop()


@pytest.fixture(scope="session")
def both(aws: Emulator, tools: dict[str, Path], rightfoot: Rightfoot, silent_rightfoot: Rightfoot):
    """Both stacks, and what was begun at once, because it takes its time."""
    quick = {"PollFirstSecs": "60", "PollEverySecs": "60"}
    first = Stack.deployed("inbox", aws, tools, RightfootApiUrl=rightfoot.url, **quick)
    second = Stack.deployed("beside", aws, tools, RightfootApiUrl=silent_rightfoot.url, **quick)
    return first, second, Begun(first, second)


@pytest.fixture(scope="session")
def stack(both) -> Stack:
    """The first stack."""
    return both[0]


@pytest.fixture(scope="session")
def beside(both) -> Stack:
    """The second stack: no webhook of its Rightfoot's arrives."""
    return both[1]


@pytest.fixture(scope="session")
def begun(both) -> Begun:
    return both[2]


@pytest.fixture(scope="session")
def bus(begun: Begun) -> Listener:
    return begun.bus


@pytest.fixture(scope="session")
def bus_beside(begun: Begun) -> Listener:
    return begun.bus_beside


@pytest.fixture
def impatient(beside: Stack):
    """A message that was received comes again after seconds, not after nine minutes."""
    with beside.events_queue(VisibilityTimeout="2"):
        yield beside
