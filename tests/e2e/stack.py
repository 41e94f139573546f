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

from deliveries import JSON, Answer, call, signed
from emulator import Emulator
from rightfoot import API_KEY
from waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
# As in infra/samconfig.toml.
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
FUNCTIONS = sorted(manifest.parent.name for manifest in (REPOSITORY / "functions").glob("*/Cargo.toml"))
FYNAPSE_SECRET = "e2e-fynapse-secret"


def run(what: str, command: list, environment: dict[str, str], log: Path, cwd: Path = REPOSITORY) -> None:
    """Runs a tool whose output is of interest only if it fails."""
    started = time.monotonic()
    with log.open("ab") as output:
        done = subprocess.run(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"{what} failed ({done.returncode}):\n{log.read_text()[-3000:]}")
    logging.getLogger("e2e").info("%s: %.0f s", what, time.monotonic() - started)


class Stack:
    def __init__(self, name: str, aws: Emulator, tools: dict[str, Path], **parameters):
        self.name = name
        self.aws = aws
        self.tools = tools
        self.parameters = {"Architecture": ARCHITECTURE, **parameters}

    # ── Deployed as a user deploys it ──

    def deploy(self, **parameters) -> None:
        self.parameters.update(parameters)
        overrides = [f"{name}={value}" for name, value in self.parameters.items()]
        command = [self.tools["sam"], "deploy", "--template", "template.yaml", "--stack-name", self.name, "--resolve-s3",
                   "--capabilities", *CAPABILITIES, "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides]
        run(f"sam deploy {self.name}", command, self.aws.environment, self.aws.scratch / f"sam-{self.name}.log")
        self.__dict__.pop("outputs", None)

    @classmethod
    def deployed(cls, *arguments, **parameters) -> "Stack":
        """One with its secrets in place."""
        stack = cls(*arguments, **parameters)
        stack.deploy()
        stack.put_secret("FynapseSigningSecretArn", FYNAPSE_SECRET)
        stack.put_secret("RightfootApiKeyArn", API_KEY)
        return stack

    @cached_property
    def outputs(self) -> dict[str, str]:
        (told,) = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in told["Outputs"]}

    @property
    def boto(self) -> dict[str, str]:
        variables = self.aws.variables
        return {
            "endpoint_url": variables["AWS_ENDPOINT_URL"],
            "region_name": variables["AWS_REGION"],
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
        }

    def client(self, service: str):
        return boto3.client(service, **self.boto)

    def put_secret(self, output: str, value: str) -> None:
        self.client("secretsmanager").put_secret_value(SecretId=self.outputs[output], SecretString=value)

    def fingerprint(self, output: str) -> str:
        """What tells a secret's value from another one without telling it."""
        value = self.client("secretsmanager").get_secret_value(SecretId=self.outputs[output])["SecretString"]
        return hashlib.sha256(value.encode()).hexdigest()

    @contextmanager
    def events_queue(self, **attributes: str) -> Iterator[None]:
        """Has its queue be so for a while."""
        queue, sqs = self.outputs["EventsQueueUrl"], self.client("sqs")
        usual = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(attributes))["Attributes"]
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=queue, Attributes=usual)

    # ── Called by the providers ──

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        return self.call("POST", path, headers, body)

    def call(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        return call(self.aws.port, method, self.outputs["WebhookBaseUrl"] + path, headers, body)

    def fynapse(self, body: bytes, secret: str = FYNAPSE_SECRET, at: float | None = None, headers=JSON) -> Answer:
        return self.post("/webhooks/fynapse", body, {**signed(body, secret, at), **headers})

    def rightfoot(self, url: str, body: bytes, headers=JSON) -> Answer:
        return call(self.aws.port, "POST", url, headers, body)

    # ── Invoked by its users ──

    def request(self, **request) -> dict:
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["RightfootRequestsName"], Payload=json.dumps(request)
        )
        said = json.load(answer["Payload"])
        assert "FunctionError" not in answer, said
        return said

    # ── Watched by its operators ──

    def inboxctl(self, *words: str, fails: bool | None = False):
        """What it prints with --json. It fails, or not, as is said; with None, either."""
        # By path, because its resolver may not know the API's name either.
        api_id = self.outputs["WebhookBaseUrl"].removeprefix("http://").split(".")[0]
        base = f"{self.aws.endpoint}/_aws/execute-api/{api_id}/$default"
        environment = {**self.aws.environment, "INBOXCTL_STACK": self.name, "INBOXCTL_BY": "e2e", "WEBHOOK_BASE_URL": base}
        command = [self.tools["inboxctl"], "--json", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert fails in (None, done.returncode != 0), f"inboxctl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout else None

    def log_lines(self) -> list[str]:
        """Whatever its functions have logged."""
        logs = self.client("logs")
        groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{self.name}-")["logGroups"]
        pages = [logs.get_paginator("filter_log_events").paginate(logGroupName=it["logGroupName"]) for it in groups]
        return [event["message"] for group in pages for page in group for event in page["events"]]

    def mint(self, subject: str) -> str:
        """A webhook URL as Rightfoot is given it."""
        token = self.inboxctl("url", "mint", subject)["path"].rsplit("/", 1)[-1]
        return self.outputs["RightfootWebhookUrlPrefix"] + token

    def event(self, event_id: str) -> dict | None:
        try:
            return self.inboxctl("events", "show", event_id)
        except AssertionError as error:
            if f"{event_id} is not recorded" not in str(error):
                raise
            return None

    def has_a_trace_of(self, words: str) -> bool:
        """Whether any item of its inbox holds them, payloads and what is in quarantine among them."""
        table = self.client("dynamodb").get_paginator("scan")
        pages = table.paginate(TableName=self.outputs["InboxTableName"], ConsistentRead=True)
        return any(words in repr(page["Items"]) for page in pages)

    def waits_until_done(self, event_id: str, secs: float = 30) -> dict:
        def is_done(event: dict | None) -> bool:
            return event is not None and event["state"] == "done"

        return until(f"{event_id} to be done", lambda: self.event(event_id), secs, enough=is_done)
