"""Runs functions in Docker by the commands that tests/README.md has for it. Only ports, and with `SAM_LOCAL_OPTIONS` the image and the
architecture, differ.
"""

import ipaddress
import json
import os
import re
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

from emulator import free_ports
from stack import REPOSITORY
from waiting import wait_until

from .emulators import CREDENTIALS, Emulators
from .function_runner import hyphenated, tools_venv
from .recorded_events import event, function_of

TIMEOUT_SECS = 120
DOCUMENT = REPOSITORY / "tests/README.md"
VARIABLES = REPOSITORY / "infra/local/sam-env.json"
# How the functions in the containers call this machine.
HOST = "host.docker.internal"


def documented_commands(subcommand: str) -> list[list[str]]:
    """The words of each documented command `sam local <subcommand>`."""
    lines = DOCUMENT.read_text().splitlines()
    return [shlex.split(line) for line in lines if line.startswith(f"sam local {subcommand} ")]


def bridge_address() -> str | None:
    """This machine's address on Docker's default network. `None` if it has none, because Docker runs in a virtual machine: then its
    containers reach 127.0.0.1 of this machine.
    """
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json (index .IPAM.Config 0)}}"]
    network = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    # Docker's default is the first address; older versions do not name it.
    address = network.get("Gateway") or str(ipaddress.ip_network(network["Subnet"])[1])
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return None
    return address


class SamLocal:
    """The SAM CLI with the documented settings, and the variables of `emulators`."""

    def __init__(self, emulators: Emulators, scratch: Path):
        self._emulators, self._scratch = emulators, scratch
        self._sam = tools_venv() / "bin/sam"
        self._variables = scratch / "sam-env.json"
        self._variables.write_text(self._with_actual_ports(VARIABLES.read_text()))
        self._functions = {hyphenated(words[3]): words for words in documented_commands("invoke")}

    def invoke(self, name: str) -> Any:
        """Invokes a recorded event's function with it, in a container of its own, and returns the response."""
        command = list(self._functions[function_of(name, set(self._functions))])
        payload = self._scratch / f"{name}.json"
        payload.write_text(self._emulators.local.with_actual_addresses(event(name)))
        command[command.index("--event") + 1] = str(payload)
        with (self._scratch / f"{name}.log").open("wb") as log:
            done = subprocess.run(
                self._command(command),
                cwd=REPOSITORY,
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                timeout=TIMEOUT_SECS,
            )
        assert done.returncode == 0, f"{name}.json: sam ended with {done.returncode}, see {self._scratch}"
        return json.loads(self._emulators.local.with_default_addresses(done.stdout))

    def start_api(self) -> "Api":
        """Starts to serve the webhooks, each delivery in a container of its own."""
        (port,) = free_ports(1)
        (words,) = documented_commands("start-api")
        with (self._scratch / "start-api.log").open("wb") as log:
            process = subprocess.Popen(
                self._command([*words, "--port", str(port)]),
                cwd=REPOSITORY,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return Api(process, port, self._scratch / "start-api.log")

    def stop(self) -> None:
        """Does nothing: each container ended with its invocation."""

    def _command(self, words: list[str]) -> list[str]:
        added = ["--env-vars", str(self._variables), *shlex.split(os.environ.get("SAM_LOCAL_OPTIONS", ""))]
        return [str(self._sam), *words[1:], *added]

    def _environment(self) -> dict[str, str]:
        # The SAM CLI prefers the shell's value of a variable to the template's, so none of the shell's may reach it.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
        return {**kept, **CREDENTIALS, "SAM_CLI_TELEMETRY": "0"}

    def _with_actual_ports(self, text: str) -> str:
        for default, actual in self._emulators.local.addresses.items():
            for host in (HOST, "127.0.0.1"):
                text = text.replace(f"{host}:{port_of(default)}", f"{host}:{port_of(actual)}")
        return text


class Api:
    """A running `sam local start-api`. The constructor returns when it is ready."""

    def __init__(self, process: subprocess.Popen, port: int, log: Path):
        self._process, self.port, self._log = process, port, log
        try:
            wait_until(f"sam local start-api, see {log}", self._is_listening, timeout_secs=60)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def _is_listening(self) -> bool:
        assert self._process.poll() is None, f"sam local start-api has ended, see {self._log}"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


def port_of(url: str) -> str:
    return re.search(r":(\d+)$", url).group(1)
