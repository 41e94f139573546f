"""infra/examples: the handlers in Python and TypeScript, invoked with events that `local` has published."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import boto3
import pytest

from emulator import free_ports
from example_runner import Example, PaymentApi
from invocations.emulators import AWS, CREDENTIALS, LOCAL, LocalProcess
from rightfoot_simulator import API_KEY, RightfootSimulator
from stack import REPOSITORY
from waiting import wait_until
from webhooks import JSON, new_id, send_request, signature_headers, url_token

SCRATCH = REPOSITORY / "target/examples"
FYNAPSE_SECRET, RIGHTFOOT_URL_KEY = "local-fynapse-secret", "local-rightfoot-url-key"
LANGUAGES = ["python", "typescript"]
# A double has 17 significant digits, and none of these amounts is one.
AMOUNTS = {"small": "12345678901234567.89", "large": "-0.10000000000000000001"}


@dataclass
class Events:
    alert: dict
    small_extract: dict
    large_extract: dict


@pytest.fixture(scope="module")
def aws_url_and_events() -> Iterator[tuple[str, Events]]:
    """The AWS endpoint of `local`, and the events that it has published."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    (port,) = free_ports(1)
    rightfoot = RightfootSimulator(LOCAL, SCRATCH / "rightfoot.log", lost_webhooks_pct=0, processing_secs=1, day_secs=5)
    try:
        webhooks = ["--http-port", str(port), "--webhook-base-url", f"http://127.0.0.1:{port}"]
        api = ["--rightfoot-api", rightfoot.url, "--rightfoot-api-key", API_KEY]
        local = LocalProcess(["--memory", *webhooks, *api], SCRATCH)
        try:
            yield local.addresses[AWS], published_events(local.addresses[AWS], rightfoot, port)
        finally:
            local.stop()
    finally:
        rightfoot.stop()


@pytest.fixture(scope="module")
def aws_url(aws_url_and_events: tuple[str, Events]) -> str:
    return aws_url_and_events[0]


@pytest.fixture(scope="module")
def events(aws_url_and_events: tuple[str, Events]) -> Events:
    return aws_url_and_events[1]


def client_options(aws_url: str) -> dict[str, str]:
    names = ["aws_access_key_id", "aws_secret_access_key", "region_name"]
    return {"endpoint_url": aws_url, **dict(zip(names, CREDENTIALS.values()))}


def published_events(aws_url: str, rightfoot: RightfootSimulator, port: int) -> Events:
    """Creates a schedule whose threshold every balance meets, delivers two extracts, and waits for their events on the bus."""
    webhook_url = f"http://127.0.0.1:{port}/webhooks/rightfoot/{url_token('examples', RIGHTFOOT_URL_KEY)}"
    # Balance Inbox does not track this schedule, so it publishes an alert as soon as the API shows the balance.
    rightfoot.create_schedule("examples", webhook_url, threshold=0.01)
    ids = [deliver_extract(port, AMOUNTS["small"], rows=0), deliver_extract(port, AMOUNTS["large"], rows=6_000)]

    sqs, received = boto3.client("sqs", **client_options(aws_url)), []

    def receive() -> list[dict]:
        queue = f"{aws_url}/123456789012/bus-events"
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            received.append(json.loads(message["Body"]))
        return received

    def alerts(events: list[dict]) -> list[dict]:
        return [event for event in events if event["detail-type"] == "BalanceThresholdMet"]

    def extract(events: list[dict], event_id: str) -> dict | None:
        return next((event for event in events if event["detail"]["event_id"] == f"fynapse/event/{event_id}"), None)

    def is_complete(events: list[dict]) -> bool:
        return bool(alerts(events)) and all(extract(events, event_id) for event_id in ids)

    wait_until("an alert and two extracts", receive, timeout_secs=60, condition=is_complete)
    small, large = (extract(received, event_id) for event_id in ids)
    assert "data" in small["detail"] and "data" not in large["detail"]
    return Events(alerts(received)[0], small, large)


def deliver_extract(port: int, amount: str, rows: int) -> str:
    """Delivers an extract and returns its id. It is written by hand, because `json` would round the amount."""
    event_id = new_id()
    filler = json.dumps([new_id() for _ in range(rows)])
    body = (f'{{"event_id":"{event_id}","event_type":"balance.extracted","metadata":{{}},'
            f'"event_timestamp":"2026-01-02T03:04:05Z","data":{{"amount":{amount},"rows":{filler}}}}}').encode()
    headers = {**signature_headers(body, FYNAPSE_SECRET), **JSON}
    response = send_request(port, "POST", f"http://127.0.0.1:{port}/webhooks/fynapse", headers, body)
    assert response.status_and_body == (200, '{"status":"received"}')
    return event_id


@pytest.fixture
def payment_api() -> Iterator[PaymentApi]:
    api = PaymentApi()
    yield api
    api.stop()


@pytest.fixture(scope="module")
def examples(aws_url: str) -> dict[str, Example]:
    settings = {**CREDENTIALS, "AWS_REGION": CREDENTIALS["AWS_DEFAULT_REGION"], "AWS_ENDPOINT_URL": aws_url, "INBOX_TABLE": "inbox"}
    return {language: Example(language, SCRATCH, settings) for language in LANGUAGES}


@dataclass
class Consumer:
    """An example with a payment API and an empty table of processed events."""

    example: Example
    api: PaymentApi
    table: Any

    def invoke(self, event: dict, min_balance: str = "0", **options) -> None:
        variables = {"MIN_BALANCE": min_balance, "PAYMENTS_URL": self.api.url, "PROCESSED_TABLE": self.table.name}
        self.example.invoke(event, **{**variables, **options})


@pytest.fixture(params=LANGUAGES)
def consumer(
    request: pytest.FixtureRequest, aws_url: str, examples: dict[str, Example], payment_api: PaymentApi
) -> Iterator[Consumer]:
    table = boto3.resource("dynamodb", **client_options(aws_url)).create_table(
        TableName=f"processed-{request.param}",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table.wait_until_exists()
    yield Consumer(examples[request.param], payment_api, table)
    table.delete()


def payment(alert: dict) -> tuple[str, str]:
    return alert["detail"]["id"], alert["detail"]["authorizer_unique_id"]


def test_an_alert_is_paid_once_if_its_balance_reaches_the_consumers_minimum(consumer: Consumer, events: Events):
    balance = events.alert["detail"]["balance"]
    # A double could not tell the two minimums apart.
    consumer.invoke(events.alert, min_balance=f"{Decimal(balance) + Decimal('0.00000000000000000001')}")
    assert consumer.api.requests == []
    for _ in range(2):
        consumer.invoke(events.alert, min_balance=balance)
    assert consumer.api.requests == [payment(events.alert)]


def test_a_failed_payment_is_repeated_under_the_same_key_once_the_lease_has_ended(consumer: Consumer, events: Events):
    consumer.api.status = 500
    with pytest.raises(AssertionError, match="500"):
        consumer.invoke(events.alert, remaining_millis=60_000)
    consumer.api.status = 200
    with pytest.raises(AssertionError, match="another invocation is processing the event"):
        consumer.invoke(events.alert)
    lease = consumer.table.get_item(Key={"pk": events.alert["detail"]["id"]})["Item"]["leased_until"]
    assert 30_000 < int(lease) - time.time() * 1000 <= 60_000

    # As if the lease had ended.
    consumer.table.put_item(Item={"pk": events.alert["detail"]["id"], "leased_until": int(time.time() * 1000) - 1})
    consumer.invoke(events.alert)
    assert consumer.api.requests == [payment(events.alert)] * 2


def test_the_amount_of_an_extract_is_stored_once_and_exactly(consumer: Consumer, events: Events):
    for event in [events.small_extract, events.large_extract, events.small_extract]:
        consumer.invoke(event)
    stored = {item["pk"]: item["amount"] for item in consumer.table.scan()["Items"]}
    assert stored == {
        events.small_extract["detail"]["id"]: Decimal(AMOUNTS["small"]),
        events.large_extract["detail"]["id"]: Decimal(AMOUNTS["large"]),
    }
    assert consumer.api.requests == []


def test_a_missing_setting_stops_the_handler_at_its_start(consumer: Consumer, events: Events):
    with pytest.raises(AssertionError, match="MIN_BALANCE"):
        consumer.invoke(events.alert, min_balance="")
    assert consumer.api.requests == []
