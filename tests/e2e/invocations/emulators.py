"""`local` and a simulated Rightfoot for one test. Worker, relay, poller and auditor do not run by themselves: the test invokes them."""

import re
import subprocess
import time
import urllib.error
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from rightfoot_simulator import API_KEY, RightfootSimulator
from stack import REPOSITORY
from waiting import wait_until

LOCAL = REPOSITORY / "target/debug/local"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
# The default addresses of `local`, which env.json and the recorded events have, and the labels that `local` prints before them.
WEBHOOKS, AWS, RIGHTFOOT, FYNAPSE = (f"http://127.0.0.1:{port}" for port in (9000, 9001, 9002, 9005))
LABELS = {WEBHOOKS: "Fynapse's endpointUrl", AWS: "AWS endpoint", RIGHTFOOT: "Rightfoot's API", FYNAPSE: "Fynapse's API"}


PORT_OPTIONS = ("--http-port", "--aws-port", "--rightfoot-port", "--fynapse-port", "--console-port")


class LocalProcess:
    """A running `local`. It listens on free ports, unless the arguments name others: .ci/run has another `local` at the default ones
    meanwhile. The constructor returns when it is ready."""

    def __init__(self, arguments: list[str], scratch: Path):
        ports = [f"{option}=0" for option in PORT_OPTIONS if option not in arguments]
        if "--rightfoot-api" in arguments:
            ports.remove("--rightfoot-port=0")
        self._stdout = scratch / "local.out"
        with self._stdout.open("wb") as stdout, (scratch / "local.log").open("wb") as log:
            self._process = subprocess.Popen([LOCAL, *arguments, *ports], stdout=stdout, stderr=log)
        try:
            wait_until(f"local to be ready, see {scratch}", self._is_ready)
        except BaseException:
            self.stop()
            raise

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Its actual addresses by the default ones, parsed from its output."""
        output = self._stdout.read_text()
        return {
            default: re.search(rf"^{label}\s+(http://[\d.:]+)", output, re.MULTILINE).group(1)
            for default, label in LABELS.items()
        }

    def with_actual_addresses(self, text: str) -> str:
        for default, actual in self.addresses.items():
            text = text.replace(default, actual)
        return text

    def with_default_addresses(self, text: str) -> str:
        for default, actual in self.addresses.items():
            text = text.replace(actual, default)
        return text

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"local has ended, see {self._stdout.parent}"
        return "ready\n" in self._stdout.read_text()


class Emulators:
    """`bind` is another address than 127.0.0.1 at which they are reached, too."""

    def __init__(self, scratch: Path, bind: str | None = None):
        # All webhooks are lost, so that only the test delivers. A schedule runs, and its run ends, within a test.
        self._rightfoot = RightfootSimulator(
            LOCAL, scratch / "rightfoot.log", lost_webhooks_pct=100, processing_secs=1, day_secs=5, bind=bind
        )
        rightfoot = ["--rightfoot-api", self._rightfoot.url, "--rightfoot-api-key", API_KEY]
        options = ["--memory", "--no-worker", "--no-schedules"]
        if bind:
            options += ["--bind", bind]
        try:
            self.local = LocalProcess([*options, *rightfoot], scratch)
        except BaseException:
            self._rightfoot.stop()
            raise
        self.aws_url = self.local.addresses[AWS]
        self._dynamodb = self._client("dynamodb")
        self._sqs = self._client("sqs")

    def stop(self) -> None:
        self.local.stop()
        self._rightfoot.stop()

    def queued_messages(self, queue: str) -> list[dict]:
        """The messages of a queue. They stay on it."""
        url = f"{self.aws_url}/123456789012/{queue}"
        received: dict[str, dict] = {}
        while messages := self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60, MessageAttributeNames=["All"]
        ).get("Messages"):
            received |= {message["MessageId"]: message for message in messages}
        for message in received.values():
            handle = message["ReceiptHandle"]
            self._sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        return list(received.values())

    def balances(self) -> list[dict]:
        """The items of the table `balances`, every value as text."""
        return self._items("balances")

    def make_all_due(self) -> None:
        """Makes every item that waits for a time due now."""
        for item in self._items("inbox"):
            if "due" in item:
                self._dynamodb.update_item(
                    TableName="inbox",
                    Key={name: {"S": item[name]} for name in ("pk", "sk")},
                    UpdateExpression="SET due_at = :now",
                    ExpressionAttributeValues={":now": {"N": str(int(time.time() * 1000) - 1000)}},
                )

    def wait_for_batch(self, batch_id: str) -> None:
        """Waits until Rightfoot has completed the batch."""

        def is_complete() -> bool:
            try:
                return bool(self._rightfoot.balances(batch_id))
            except urllib.error.HTTPError as error:
                assert error.code == 404, f"Rightfoot answers {error.code}"
                return False

        wait_until(f"Rightfoot to complete the batch {batch_id}", is_complete)

    def _client(self, service: str) -> Any:
        names = ["aws_access_key_id", "aws_secret_access_key", "region_name"]
        return boto3.client(service, endpoint_url=self.aws_url, **dict(zip(names, CREDENTIALS.values())))

    def _items(self, table: str) -> list[dict]:
        items = self._dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        return [{name: value for name, typed in item.items() for value in typed.values()} for item in items]
