"""Runs the handlers in infra/examples, each invocation in a process of its own, and the payment API that they call."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from stack import REPOSITORY

EXAMPLES = REPOSITORY / "infra/examples"
TIMEOUT_SECS = 60
INVOKE_PYTHON = """
    import json, sys, types
    from handler import handler
    event, remaining_millis = map(json.loads, sys.argv[1:])
    handler(event, types.SimpleNamespace(get_remaining_time_in_millis=lambda: remaining_millis))
"""
INVOKE_TYPESCRIPT = """
    const { handler } = await import("./dist/handler.js");
    const [event, remainingMillis] = process.argv.slice(1).map((argument) => JSON.parse(argument));
    await handler(event, { getRemainingTimeInMillis: () => remainingMillis });
"""


class Example:
    """A copy of an example, ready to be invoked."""

    def __init__(self, language: str, scratch: Path, environment: dict[str, str]):
        self._folder = scratch / language
        self._environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment}
        shutil.copytree(EXAMPLES / language, self._folder, ignore=shutil.ignore_patterns("node_modules", "dist", "__pycache__"))
        if language == "python":
            self._command = [sys.executable, "-c", textwrap.dedent(INVOKE_PYTHON)]
        else:
            packages = Path(os.environ["E2E_NPM"]) / "node_modules"
            (self._folder / "node_modules").symlink_to(packages)
            self._run([packages / ".bin/tsc", "--project", "."])
            self._command = ["node", "--input-type=module", "--eval", textwrap.dedent(INVOKE_TYPESCRIPT)]

    def invoke(self, event: dict, remaining_millis: int = 30_000, **variables: str) -> None:
        """Invokes the handler once. An error of the handler is an `AssertionError` with its output."""
        self._run([*self._command, json.dumps(event), str(remaining_millis)], **variables)

    def _run(self, command: list, **variables: str) -> None:
        environment = {**self._environment, **variables}
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECS
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"


class PaymentApi:
    """A payment API that pays once for each idempotency key."""

    def __init__(self):
        self.status = 200
        self.requests: list[tuple[str, str]] = []
        """The idempotency key and the recipient of each request."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                api.requests.append((self.headers["idempotency-key"], body["to"]))
                self.send_response(api.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
