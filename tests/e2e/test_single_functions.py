"""tests/README.md, "Try the functions one by one": cargo-lambda builds, runs and invokes the functions by the commands there."""

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

from document_examples import code_blocks
from emulator import free_ports
from invocations import recorded_events
from invocations.emulators import LocalProcess
from stack import FUNCTIONS, REPOSITORY
from waiting import wait_until

SCRATCH = REPOSITORY / "target/single-functions"
WATCH_PORT = "9004"
# With --no-build, cargo may have to build the functions first.
TIMEOUT_SECS = 600
DOCUMENTED_EVENT = "fynapse-webhook-good"
# Events that need no earlier step, one for each function. Relay and poller find no work.
EVENTS = [DOCUMENTED_EVENT, "fynapse-auditor-tick", "rightfoot-webhook-completed-good", "rightfoot-requests-webhook-url",
          "event-worker-empty"]
TICKS = ["event-relay-tick", "rightfoot-poller-tick"]


@pytest.fixture(scope="module")
def terminals() -> list[str]:
    """The commands of each of the three terminals."""
    (block,) = code_blocks("sh", "tests/README.md", "## Try the functions one by one")
    return block.strip().split("\n\n")


@pytest.fixture(scope="module")
def local(terminals: list[str]):
    """The `local` of the first terminal, as it is built already, and on free ports."""
    program, options = terminals[0].split(" -- ")
    assert program == "cargo run -p local"
    SCRATCH.mkdir(parents=True, exist_ok=True)
    process = LocalProcess(shlex.split(options, comments=True), SCRATCH)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def invoke(terminals: list[str], local: LocalProcess, tools: dict[str, Path]):
    """Invokes a function with a recorded event by the third terminal's command, and returns the response."""
    (port,) = free_ports(1)
    _, watch, invoke_documented = (terminal.replace(WATCH_PORT, str(port)) for terminal in terminals)
    path = os.pathsep.join([str(tools["cargo-lambda"].parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {"PATH": path}
    documented = f"fynapse-webhook --data-file tests/fixtures/events/{DOCUMENTED_EVENT}.json"
    assert invoke_documented.count(documented) == 1

    def invoke_function(name: str):
        function = recorded_events.function_of(name, FUNCTIONS)
        command = invoke_documented.replace(documented, f"{function} --data-file tests/fixtures/events/{name}.json")
        done = subprocess.run(
            ["bash", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECS
        )
        assert done.returncode == 0, f"{done.stderr[-2000:]}see {SCRATCH}"
        return json.loads(local.with_default_addresses(done.stdout))

    with watching(with_actual_addresses(watch, local), environment):
        wait_until(f"cargo-lambda to listen, see {SCRATCH}", lambda: is_listening(port))
        yield invoke_function


@pytest.mark.parametrize("name", EVENTS)
def test_a_function_that_cargo_lambda_runs_gives_the_expected_response(invoke: Callable, name: str):
    assert invoke(name) == recorded_events.expected_result(name).answer


@pytest.mark.parametrize("name", TICKS)
def test_a_scheduled_function_that_cargo_lambda_runs_finds_no_work(invoke: Callable, name: str):
    assert invoke(name) == dict.fromkeys(recorded_events.expected_result(name).answer, 0)


def with_actual_addresses(commands: str, local: LocalProcess) -> str:
    """The second terminal's commands with the addresses of this `local`, also in the file that they write."""
    edits = " ".join(f"-e s#{default}#{actual}#" for default, actual in local.addresses.items())
    assert commands.count("\ncargo lambda watch") == 1
    edit_env_file = f"\nsed -i {edits} target/functions.env\ncargo lambda watch"
    return local.with_actual_addresses(commands).replace("\ncargo lambda watch", edit_env_file)


@contextmanager
def watching(script: str, environment: dict[str, str]) -> Iterator[None]:
    """Runs the commands until the end of the block."""
    with (SCRATCH / "watch.log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-euc", script], cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        # Ends the shell, cargo-lambda and the functions that it started.
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait(timeout=10)


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
