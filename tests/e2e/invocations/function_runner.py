"""Runs the built functions as `sam local invoke` does: with the environment that the SAM CLI makes from template.yaml and env.json,
under the runtime interface emulator that it ships. There is no container, so the environment also has `AWS_ENDPOINT_URL`.
"""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from emulator import free_ports
from stack import ARCHITECTURE, REPOSITORY
from waiting import wait_until

from .emulators import CREDENTIALS, Emulators
from .recorded_events import ENV_FILE, event, function_of

TIMEOUT_SECS = 100


def tools_venv() -> Path:
    done = subprocess.run([REPOSITORY / ".ci/venv", "tools"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def runtime_interface_emulator() -> Path:
    """The SAM CLI's runtime interface emulator for this machine."""
    return next(tools_venv().glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}"))


def sam_configurations() -> dict[str, dict]:
    """Code path and environment of each function, by its name."""
    script = Path(__file__).with_name("sam_configuration.py")
    command = [tools_venv() / "bin/python", script, REPOSITORY / "template.yaml", ENV_FILE]
    environment = {"HOME": os.environ.get("HOME", "/"), "SAM_CLI_TELEMETRY": "0", **CREDENTIALS}
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return {hyphenated(logical_id): configuration for logical_id, configuration in json.loads(done.stdout).items()}


def hyphenated(logical_id: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", logical_id).lower()


class FunctionRunner:
    """Starts each function at its first invocation, and keeps it running."""

    def __init__(self, configurations: dict[str, dict], rie: Path, emulators: Emulators, scratch: Path):
        self._configurations, self._rie, self._emulators, self._scratch = configurations, rie, emulators, scratch
        self._running: dict[str, subprocess.Popen] = {}
        self._urls: dict[str, str] = {}

    def invoke(self, name: str) -> Any:
        """Invokes a recorded event's function with it, and returns the response."""
        function = function_of(name, set(self._configurations))
        if function not in self._running:
            self._start(function)
        payload = self._emulators.local.with_actual_addresses(event(name)).encode()
        request = urllib.request.Request(self._urls[function], data=payload)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECS) as response:
                return json.loads(self._emulators.local.with_default_addresses(response.read().decode()))
        except OSError as error:
            raise AssertionError(f"{name}.json: no response ({error}), see {self._scratch}") from error

    def stop(self) -> None:
        for process in self._running.values():
            # Ends the emulator and the function that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)

    def _start(self, function: str) -> None:
        invocations, runtime = (f"127.0.0.1:{port}" for port in free_ports(2))
        addresses = ["--runtime-interface-emulator-address", invocations, "--runtime-api-address", runtime]
        configuration, local = self._configurations[function], self._emulators.local
        code = Path(configuration["code"])
        assert (code / "bootstrap").is_file(), f"{code} has no bootstrap: run `cargo lambda build`"
        variables = {name: local.with_actual_addresses(value) for name, value in configuration["variables"].items()}
        with (self._scratch / f"{function}.log").open("wb") as log:
            self._running[function] = subprocess.Popen(
                [self._rie, *addresses, "./bootstrap"],
                cwd=code,
                env=variables | {"AWS_ENDPOINT_URL": self._emulators.aws_url},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._urls[function] = f"http://{invocations}/2015-03-31/functions/function/invocations"
        wait_until(f"the emulator of {function}, see {self._scratch}", lambda: self._is_listening(function))

    def _is_listening(self, function: str) -> bool:
        assert self._running[function].poll() is None, f"the emulator of {function} has ended, see {self._scratch}"
        host, port = re.search(r"//([\d.]+):(\d+)", self._urls[function]).groups()
        with socket.socket() as client:
            return client.connect_ex((host, int(port))) == 0
