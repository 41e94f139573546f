"""Runs the README's handlers, each invocation in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from document_examples import code_blocks

FOLDER = Path(__file__).resolve().parent
TIMEOUT_SECS = 60


class Handler:
    """A handler in a folder of its own, with a payment provider that writes its payments to a file."""

    def __init__(self, language: str, scratch: Path, environment: dict[str, str]):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._scratch, self._payments = scratch, scratch / "payments.jsonl"
        settings = {"PAYMENTS": str(self._payments), "PYTHONDONTWRITEBYTECODE": "1"}
        self._environment = {"PATH": os.environ["PATH"], **environment, **settings}
        (code,) = code_blocks(language, "README.md", "## Consume the bus")
        self._command = {"python": self._python, "typescript": self._typescript}[language](code)

    def invoke(self, event: dict, min_balance: str) -> None:
        self._run([*self._command, json.dumps(event)], MIN_BALANCE=min_balance)

    @property
    def payments(self) -> list[list[str]]:
        """The idempotency key and the recipient of each payment."""
        return [json.loads(line) for line in self._payments.read_text().splitlines()] if self._payments.exists() else []

    def _python(self, code: str) -> list[str]:
        (self._scratch / "handler.py").write_text(code)
        shutil.copy(FOLDER / "payments.py", self._scratch)
        return [sys.executable, "-c", "import json, sys, handler; handler.handler(json.loads(sys.argv[1]), None)"]

    def _typescript(self, code: str) -> list[str]:
        (self._scratch / "handler.ts").write_text(code)
        for file in ("payments.ts", "tsconfig.json", "package.json"):
            shutil.copy(FOLDER / file, self._scratch)
        packages = Path(os.environ["E2E_NPM"]) / "node_modules"
        (self._scratch / "node_modules").symlink_to(packages)
        self._run([packages / ".bin/tsc", "--project", "."])
        invoke = """
            const { handler } = await import("./handler.js");
            await handler(JSON.parse(process.argv[1]));
        """
        return ["node", "--input-type=module", "--eval", textwrap.dedent(invoke)]

    def _run(self, command: list, **variables: str) -> None:
        environment = {**self._environment, **variables}
        done = subprocess.run(
            command, cwd=self._scratch, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECS
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
