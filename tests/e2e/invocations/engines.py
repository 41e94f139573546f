"""`local`, as the AWS and the Rightfoot of one test: without worker, relay and poller, which the test invokes itself."""

import re
import subprocess
import time
import urllib.error
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from rightfoot import API_KEY, Rightfoot
from stack import REPOSITORY
from waiting import until

LOCAL = REPOSITORY / "target/debug/local"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
# Where `local` answers unless it is told otherwise, as env.json has it; and how it greets from where it does.
WEBHOOKS, AWS, RIGHTFOOT = (f"http://127.0.0.1:{port}" for port in (9000, 9001, 9002))
ADDRESSES = {WEBHOOKS: "Fynapse's endpointUrl", AWS: "AWS endpoint", RIGHTFOOT: "Rightfoot's API"}


class Local:
    """It, once it is ready."""

    def __init__(self, arguments: list[str], scratch: Path):
        self._said = scratch / "local.out"
        with self._said.open("wb") as out, (scratch / "local.log").open("wb") as log:
            self._process = subprocess.Popen([LOCAL, *arguments], stdout=out, stderr=log)
        try:
            until(f"local to be ready, see {scratch}", self._is_ready)
        except BaseException:
            self.stop()
            raise

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Where it answers, by what is written: it has greeted with that."""
        said = self._said.read_text()
        return {
            written: re.search(rf"^{name}\s+(http://[\d.:]+)", said, re.MULTILINE).group(1)
            for written, name in ADDRESSES.items()
        }

    def here(self, text: str) -> str:
        """With its addresses for those that are written."""
        for written, here in self.addresses.items():
            text = text.replace(written, here)
        return text

    def as_written(self, text: str) -> str:
        """The other way round."""
        for written, here in self.addresses.items():
            text = text.replace(here, written)
        return text

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"it has ended, see {self._said.parent}"
        return "ready\n" in self._said.read_text()


class Engines:
    def __init__(self, scratch: Path):
        # No webhook comes by itself; and a schedule runs, and a run ends, within a test.
        self._rightfoot = Rightfoot(LOCAL, scratch / "rightfoot.log", lost_pct=100, processing_secs=1, day_secs=5)
        rightfoot = ["--rightfoot-api", self._rightfoot.url, "--rightfoot-api-key", API_KEY]
        alone = ["--memory", "--no-worker", "--no-schedules", "--http-port", "0", "--aws-port", "0"]
        try:
            self.local = Local([*alone, *rightfoot], scratch)
        except BaseException:
            self._rightfoot.stop()
            raise
        self.aws_url = self.local.addresses[AWS]
        self._dynamodb = self._client("dynamodb")
        self._sqs = self._client("sqs")

    def stop(self) -> None:
        self.local.stop()
        self._rightfoot.stop()

    def queued(self, queue: str) -> list[dict]:
        """The messages of a queue, which stay on it."""
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
        """The rows of the table, every value as text."""
        return self._items("balances")

    def make_all_due(self) -> None:
        """Whatever waits for its time is due: as if that had passed."""
        for item in self._items("inbox"):
            if "due" in item:
                self._dynamodb.update_item(
                    TableName="inbox",
                    Key={name: {"S": item[name]} for name in ("pk", "sk")},
                    UpdateExpression="SET due_at = :now",
                    ExpressionAttributeValues={":now": {"N": str(int(time.time() * 1000) - 1000)}},
                )

    def wait_for_batch(self, batch_id: str) -> None:
        """Rightfoot is done with it."""

        def is_complete() -> bool:
            try:
                return bool(self._rightfoot.balances(batch_id))
            except urllib.error.HTTPError as refusal:
                assert refusal.code == 404, f"Rightfoot answers {refusal.code}"
                return False

        until(f"Rightfoot to complete the batch {batch_id}", is_complete)

    def _client(self, service: str) -> Any:
        names = ["aws_access_key_id", "aws_secret_access_key", "region_name"]
        return boto3.client(service, endpoint_url=self.aws_url, **dict(zip(names, CREDENTIALS.values())))

    def _items(self, table: str) -> list[dict]:
        items = self._dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        return [{name: value for name, typed in item.items() for value in typed.values()} for item in items]
