"""tests/README.md, "Try the functions one by one": built and run by cargo-lambda, and invoked as it shows."""

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator import free_ports
from invocations import recorded
from invocations.engines import Local
from documents import blocks
from stack import FUNCTIONS, REPOSITORY
from waiting import until

SCRATCH = REPOSITORY / "target/one-by-one"
WATCH_PORT = "9003"
# With --no-build, cargo has to build the functions first.
PATIENCE_SECS = 600
# What can be invoked with nothing before it, one for each function. Relay and poller find nothing to do.
SHOWN = "fynapse-webhook-good"
READY = [SHOWN, "rightfoot-webhook-completed-good", "rightfoot-requests-webhook-url", "event-worker-empty"]
TICKS = ["event-relay-tick", "rightfoot-poller-tick"]


@pytest.fixture(scope="module")
def terminals() -> list[str]:
    (block,) = blocks("sh", "tests/README.md", under="## Try the functions one by one")
    return block.strip().split("\n\n")


@pytest.fixture(scope="module")
def local(terminals: list[str]):
    """What runs in the first terminal: built already, and on free ports."""
    program, options = terminals[0].split(" -- ")
    assert program == "cargo run -p local"
    SCRATCH.mkdir(parents=True, exist_ok=True)
    ports = [f"--{name}-port=0" for name in ("http", "aws", "rightfoot")]
    started = Local([*shlex.split(options, comments=True), *ports], SCRATCH)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def invoked(terminals: list[str], local: Local, tools: dict[str, Path]):
    """What a function answers to a recorded event in the third terminal."""
    (port,) = free_ports(1)
    _, second, third = (terminal.replace(WATCH_PORT, str(port)) for terminal in terminals)
    path = os.pathsep.join([str(tools["cargo-lambda"].parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {"PATH": path}
    shown = f"fynapse-webhook --data-file tests/fixtures/events/{SHOWN}.json"
    assert third.count(shown) == 1

    def invoke(name: str):
        function = recorded.function_of(name, FUNCTIONS)
        command = third.replace(shown, f"{function} --data-file tests/fixtures/events/{name}.json")
        done = subprocess.run(
            ["bash", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECS
        )
        assert done.returncode == 0, f"{done.stderr[-2000:]}see {SCRATCH}"
        return json.loads(local.as_written(done.stdout))

    with watching(with_addresses(second, local), environment):
        until(f"cargo-lambda to watch, see {SCRATCH}", lambda: answers(port))
        yield invoke


@pytest.mark.parametrize("name", READY)
def test_a_function_that_cargo_lambda_watches_answers_as_is_written(invoked: Callable, name: str):
    assert invoked(name) == recorded.expected(name).answer


@pytest.mark.parametrize("name", TICKS)
def test_a_schedule_of_what_cargo_lambda_watches_finds_nothing_to_do(invoked: Callable, name: str):
    assert invoked(name) == dict.fromkeys(recorded.expected(name).answer, 0)


def with_addresses(terminal: str, local: Local) -> str:
    """With those of this `local` for those of tests/README.md and of env.json."""
    edits = " ".join(f"-e s#{written}#{address}#" for written, address in local.addresses.items())
    assert terminal.count("\ncargo lambda watch") == 1
    return local.here(terminal).replace("\ncargo lambda watch", f"\nsed -i {edits} target/functions.env\ncargo lambda watch")


@contextmanager
def watching(script: str, environment: dict[str, str]) -> Iterator[None]:
    with (SCRATCH / "watch.log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-euc", script], cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        # The shell, cargo-lambda and the function that it has started.
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait(timeout=10)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
