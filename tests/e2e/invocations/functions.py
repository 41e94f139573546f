"""The built functions, as the SAM CLI runs them: with the environment that it makes of template.yaml and env.json, under
the runtime interface emulator that it ships. Only the container around them is missing, and so `AWS_ENDPOINT_URL` has to
say where AWS is.
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
from waiting import until

from .engines import CREDENTIALS, Engines
from .recorded import ENV_FILE, event, function_of

PATIENCE_SECS = 100


def tools_venv() -> Path:
    made = subprocess.run([REPOSITORY / ".ci/venv", "tools"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(made.stdout.strip())


def emulator() -> Path:
    """The runtime interface emulator for this machine."""
    return next(tools_venv().glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}"))


def as_sam_runs_them() -> dict[str, dict]:
    """Code and environment of each function, by its name."""
    script = Path(__file__).with_name("as_sam_runs_it.py")
    command = [tools_venv() / "bin/python", script, REPOSITORY / "template.yaml", ENV_FILE]
    untouched = {"HOME": os.environ.get("HOME", "/"), "SAM_CLI_TELEMETRY": "0", **CREDENTIALS}
    made = subprocess.run(command, check=True, env=untouched, stdout=subprocess.PIPE, text=True)
    return {hyphenated(logical_id): function for logical_id, function in json.loads(made.stdout).items()}


def hyphenated(logical_id: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", logical_id).lower()


class Functions:
    """Each is started by its first invocation, and then stays."""

    def __init__(self, told: dict[str, dict], rie: Path, engines: Engines, scratch: Path):
        self._told, self._rie, self._engines, self._scratch = told, rie, engines, scratch
        self._running: dict[str, subprocess.Popen] = {}
        self._urls: dict[str, str] = {}

    def invoke(self, name: str) -> Any:
        function = function_of(name, set(self._told))
        if function not in self._running:
            self._start(function)
        payload = self._engines.local.here(event(name)).encode()
        request = urllib.request.Request(self._urls[function], data=payload)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
                return json.loads(self._engines.local.as_written(answer.read().decode()))
        except OSError as error:
            raise AssertionError(f"{name}.json: no answer ({error}), see {self._scratch}") from error

    def stop(self) -> None:
        for process in self._running.values():
            # The emulator and the function that it has started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)

    def _start(self, function: str) -> None:
        invocations, runtime = (f"127.0.0.1:{port}" for port in free_ports(2))
        addresses = ["--runtime-interface-emulator-address", invocations, "--runtime-api-address", runtime]
        code = Path(self._told[function]["code"])
        assert (code / "bootstrap").is_file(), f"{code} holds no bootstrap: `cargo lambda build` makes it"
        variables = {name: self._engines.local.here(it) for name, it in self._told[function]["variables"].items()}
        with (self._scratch / f"{function}.log").open("wb") as log:
            self._running[function] = subprocess.Popen(
                [self._rie, *addresses, "./bootstrap"],
                cwd=code,
                env=variables | {"AWS_ENDPOINT_URL": self._engines.aws_url},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._urls[function] = f"http://{invocations}/2015-03-31/functions/function/invocations"
        until(f"the emulator of {function}, see {self._scratch}", lambda: self._answers(function))

    def _answers(self, function: str) -> bool:
        assert self._running[function].poll() is None, f"the emulator of {function} has ended, see {self._scratch}"
        host, port = re.search(r"//([\d.]+):(\d+)", self._urls[function]).groups()
        with socket.socket() as client:
            return client.connect_ex((host, int(port))) == 0
