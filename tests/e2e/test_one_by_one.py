"""The README's "Try the functions one by one", for the one function that it shows: built and run by cargo-lambda."""

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator import free_ports
from invocations import recorded
from invocations.engines import ADDRESSES, Local
from readme import blocks
from stack import REPOSITORY
from waiting import until

SCRATCH = REPOSITORY / "target/one-by-one"
WATCH_PORT = "9003"
# Cargo has to build the function first, and may have to wait for another build.
PATIENCE_SECS = 600


@pytest.fixture
def terminals() -> list[str]:
    (block,) = blocks("sh", under="### Try the functions one by one")
    return block.strip().split("\n\n")


@pytest.fixture
def local(terminals: list[str]):
    """What runs in the first terminal: built already, and on free ports."""
    program, options = terminals[0].split(" -- ")
    assert program == "cargo run -p local"
    SCRATCH.mkdir(parents=True, exist_ok=True)
    ports = [f"--{name}-port=0" for name in ("http", "aws", "rightfoot")]
    started = Local([*shlex.split(options, comments=True), *ports], SCRATCH)
    yield started
    started.stop()


def test_a_function_that_cargo_lambda_watches_answers_as_is_written(terminals: list[str], local: Local, tools: dict[str, Path]):
    (port,) = free_ports(1)
    here = {written: local.address(name) for written, name in ADDRESSES.items()}
    _, second, third = (terminal.replace(WATCH_PORT, str(port)) for terminal in terminals)
    path = os.pathsep.join([str(tools["cargo-lambda"].parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {"PATH": path}

    with watching(with_addresses(second, here), environment):
        until(f"cargo-lambda to watch, see {SCRATCH}", lambda: answers(port))
        done = subprocess.run(
            ["bash", "-c", third], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECS
        )

    assert done.returncode == 0, f"{done.stderr[-2000:]}see {SCRATCH}"
    assert json.loads(done.stdout) == recorded.expected("fynapse-webhook-good").answer


def with_addresses(terminal: str, here: dict[str, str]) -> str:
    """With those of this `local` for those of the README and of env.json."""
    for written, address in here.items():
        terminal = terminal.replace(written, address)
    edits = " ".join(f"-e s#{written}#{address}#" for written, address in here.items())
    assert terminal.count("\ncargo lambda watch") == 1
    return terminal.replace("\ncargo lambda watch", f"\nsed -i {edits} target/functions.env\ncargo lambda watch")


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
