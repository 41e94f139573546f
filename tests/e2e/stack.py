"""A deployed Balance Inbox, driven from outside: by HTTP, boto3 and `inboxctl`."""

import hashlib
import json
import logging
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import boto3

from emulator import Emulator
from rightfoot_simulator import API_KEY
from waiting import wait_until
from webhooks import JSON, Response, send_request, signature_headers

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
# The same as in infra/samconfig.toml.
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
FUNCTIONS = sorted(manifest.parent.name for manifest in (REPOSITORY / "functions").glob("*/Cargo.toml"))
FYNAPSE_SECRET = "e2e-fynapse-secret"


def run_tool(description: str, command: list, environment: dict[str, str], log: Path, cwd: Path = REPOSITORY) -> None:
    """Runs a tool with its output in the log. A failure shows the end of the log."""
    started = time.monotonic()
    with log.open("ab") as output:
        done = subprocess.run(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"{description} failed ({done.returncode}):\n{log.read_text()[-3000:]}")
    logging.getLogger("e2e").info("%s: %.0f s", description, time.monotonic() - started)


class Stack:
    def __init__(self, name: str, aws: Emulator, tools: dict[str, Path], **parameters):
        self.name = name
        self.aws = aws
        self.tools = tools
        self.parameters = {"Architecture": ARCHITECTURE, **parameters}

    # ── Deployment ──

    def deploy(self, **parameters) -> None:
        self.parameters.update(parameters)
        overrides = [f"{name}={value}" for name, value in self.parameters.items()]
        command = [self.tools["sam"], "deploy", "--template", "template.yaml", "--stack-name", self.name, "--resolve-s3",
                   "--capabilities", *CAPABILITIES, "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides]
        run_tool(f"sam deploy {self.name}", command, self.aws.environment, self.aws.scratch / f"sam-{self.name}.log")
        self.__dict__.pop("outputs", None)

    @classmethod
    def create(cls, *arguments, **parameters) -> "Stack":
        """Deploys a new stack and sets its secrets."""
        stack = cls(*arguments, **parameters)
        stack.deploy()
        stack.put_secret("FynapseSigningSecretArn", FYNAPSE_SECRET)
        stack.put_secret("RightfootApiKeyArn", API_KEY)
        return stack

    @cached_property
    def outputs(self) -> dict[str, str]:
        (description,) = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}

    @property
    def client_options(self) -> dict[str, str]:
        variables = self.aws.client_variables
        return {
            "endpoint_url": variables["AWS_ENDPOINT_URL"],
            "region_name": variables["AWS_REGION"],
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
        }

    def client(self, service: str):
        return boto3.client(service, **self.client_options)

    def put_secret(self, output: str, value: str) -> None:
        self.client("secretsmanager").put_secret_value(SecretId=self.outputs[output], SecretString=value)

    def secret_hash(self, output: str) -> str:
        """A hash of the secret's value, which can be compared and printed."""
        value = self.client("secretsmanager").get_secret_value(SecretId=self.outputs[output])["SecretString"]
        return hashlib.sha256(value.encode()).hexdigest()

    @contextmanager
    def queue_attributes(self, **attributes: str) -> Iterator[None]:
        """Sets attributes of the queue, and restores them at the end."""
        queue, sqs = self.outputs["EventsQueueUrl"], self.client("sqs")
        original = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(attributes))["Attributes"]
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=queue, Attributes=original)

    # ── Webhooks ──

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Response:
        return self.send("POST", path, headers, body)

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Response:
        return send_request(self.aws.port, method, self.outputs["WebhookBaseUrl"] + path, headers, body)

    def deliver_fynapse(
        self, body: bytes, secret: str = FYNAPSE_SECRET, signed_at: float | None = None, headers: dict[str, str] = JSON
    ) -> Response:
        return self.post("/webhooks/fynapse", body, {**signature_headers(body, secret, signed_at), **headers})

    def deliver_rightfoot(self, url: str, body: bytes, headers: dict[str, str] = JSON) -> Response:
        return send_request(self.aws.port, "POST", url, headers, body)

    # ── Functions ──

    def request(self, **request) -> dict:
        """Invokes rightfoot-requests."""
        return self._invoke(self.outputs["RightfootRequestsName"], request)

    def invoke(self, function: str) -> dict:
        """Invokes a scheduled function."""
        return self._invoke(f"{self.name}-{function}", {})

    def _invoke(self, name: str, request: dict) -> dict:
        response = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(request))
        payload = json.load(response["Payload"])
        assert "FunctionError" not in response, payload
        return payload

    # ── Operation ──

    def inboxctl(self, *arguments: str, fails: bool | None = False):
        """Runs inboxctl and returns its JSON output. Asserts whether it fails; with `fails=None`, both are accepted."""
        # The API is called by its path, because not every resolver knows the names under `.localhost`.
        api_id = self.outputs["WebhookBaseUrl"].removeprefix("http://").split(".")[0]
        base = f"{self.aws.endpoint}/_aws/execute-api/{api_id}/$default"
        environment = {**self.aws.environment, "INBOXCTL_STACK": self.name, "INBOXCTL_BY": "e2e", "WEBHOOK_BASE_URL": base}
        command = [self.tools["inboxctl"], "--json", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert fails in (None, done.returncode != 0), f"inboxctl {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        output = done.stdout or done.stderr
        return json.loads(output) if output else None

    def log_lines(self, function: str = "") -> list[str]:
        """All log lines of its functions, or of one."""
        logs = self.client("logs")
        groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{self.name}-{function}")["logGroups"]
        pages = [logs.get_paginator("filter_log_events").paginate(logGroupName=it["logGroupName"]) for it in groups]
        return [event["message"] for pages_of_group in pages for page in pages_of_group for event in page["events"]]

    def mint_url(self, subject: str) -> str:
        """Mints a Rightfoot webhook URL."""
        token = self.inboxctl("url", "mint", subject)["path"].rsplit("/", 1)[-1]
        return self.outputs["RightfootWebhookUrlPrefix"] + token

    def event(self, event_id: str) -> dict | None:
        """The event in the form of `inboxctl events show`, or `None` if it is not recorded."""
        try:
            return self.inboxctl("events", "show", event_id)
        except AssertionError as error:
            if f"{event_id} is not recorded" not in str(error):
                raise
            return None

    def inbox_contains(self, text: str) -> bool:
        """Whether any item of the table `inbox`, including payloads and quarantine, contains the text."""
        scan = self.client("dynamodb").get_paginator("scan")
        pages = scan.paginate(TableName=self.outputs["InboxTableName"], ConsistentRead=True)
        return any(text in repr(page["Items"]) for page in pages)

    def wait_until_done(self, event_id: str, timeout_secs: float = 30) -> dict:
        def is_done(event: dict | None) -> bool:
            return event is not None and event["state"] == "done"

        return wait_until(f"{event_id} to be done", lambda: self.event(event_id), timeout_secs, condition=is_done)
