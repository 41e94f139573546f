#!/usr/bin/env python3
"""An emulated AWS on this machine: ministack, on a free port, with IAM enforced.

As a command, it prints the environment variables of AWS clients as shell code, and then serves until it is stopped:

    "$(.ci/venv ministack)/bin/python" tests/e2e/emulator.py > aws.env &     # ends with the line `# ready`
    . ./aws.env
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TESTS = Path(__file__).resolve().parent
START_TIMEOUT_SECS = 60


def free_ports(count: int) -> list[int]:
    listeners = [socket.socket() for _ in range(count)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Emulator:
    """A ministack process. It writes its log and all other files into `scratch`."""

    def __init__(self, scratch: Path):
        (self.port,) = free_ports(1)
        self.scratch = scratch
        self.log = scratch / "ministack.log"
        self._process: subprocess.Popen | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client_variables(self) -> dict[str, str]:
        """Environment variables that connect AWS clients to it, as the account's owner, whom no policy restricts."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "owner",
            "AWS_SECRET_ACCESS_KEY": "owner",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client process, without other AWS settings, so that it cannot reach another AWS by mistake."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "INBOXCTL_"))}
        return {**inherited, **self.client_variables}

    def start(self) -> "Emulator":
        self.scratch.mkdir(parents=True, exist_ok=True)
        settings = {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            # Functions run under their roles, and calls that no policy allows are denied.
            "AUTH": "true",
            "TMPDIR": str(self.scratch),
            "NO_PROXY": "*",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, TESTS / "patched_ministack.py"],
                # Functions inherit AWS_ENDPOINT_URL from it. Without it they would call the real AWS.
                env={**self.environment, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_healthy()
        return self

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"ministack ended during its start:\n{self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"ministack did not answer within {START_TIMEOUT_SECS} s: see {self.log}")

    def stop(self) -> None:
        """Ends it and every function that it started."""
        if self._process is None:
            return
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, signal_number)
                self._process.wait(timeout=10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        self._process.wait()
        self._process = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=TESTS.parents[1] / "target/emulator", metavar="DIR",
                        help="folder for its log and the functions' code [default: target/emulator]")
    emulator = Emulator(parser.parse_args().scratch)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        emulator.start()
        for name, value in emulator.client_variables.items():
            print(f"export {name}={value}")
        print("# ready", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        emulator.stop()


if __name__ == "__main__":
    main()
