"""Deployments over an existing stack and beside another one. Data stays, and stays separate."""

import io
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus_listener import BusListener
from stack import FUNCTIONS, REPOSITORY, Stack, run_tool
from waiting import wait_until
from webhooks import completion_body, extract_body, new_id

SECRETS = ["FynapseSigningSecretArn", "FynapseApiCredentialsArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"]


def function_configuration(stack: Stack, function: str) -> dict:
    configuration = stack.client("lambda").get_function_configuration(FunctionName=f"{stack.name}-{function}")
    configuration.pop("ResponseMetadata")
    return configuration


def test_two_stacks_share_nothing(stack: Stack, second_stack: Stack, bus: BusListener, second_bus: BusListener):
    assert not set(stack.outputs.values()) & set(second_stack.outputs.values())
    event, body = f"fynapse/event/{(event_id := new_id())}", extract_body(event_id)
    assert stack.deliver_fynapse(body).status_and_body == (200, '{"status":"received"}')
    bus.wait_for("BalanceExtracted", event_id=event)
    assert second_stack.event(event) is None and not second_bus.details("BalanceExtracted", event_id=event)
    assert second_stack.deliver_fynapse(body).status_and_body == (200, '{"status":"received"}'), "not a duplicate"
    # The token of one stack's URL is not valid in the other.
    token = stack.mint_url("shared").rsplit("/", 1)[-1]
    url = second_stack.outputs["RightfootWebhookUrlPrefix"] + token
    assert second_stack.deliver_rightfoot(url, completion_body(new_id())).status == 403


def test_a_deployment_without_changes_changes_nothing(stack: Stack):
    def state() -> list:
        configurations = [function_configuration(stack, function) for function in FUNCTIONS]
        return [stack.outputs, *configurations, *map(stack.secret_hash, SECRETS)]

    before = state()
    stack.deploy()
    assert state() == before


def test_a_changed_parameter_keeps_records_messages_secrets_and_urls(stack: Stack, bus: BusListener):
    url, secrets, outputs = stack.mint_url("before"), [stack.secret_hash(name) for name in SECRETS], stack.outputs
    with worker_disabled(stack):
        event = f"fynapse/event/{(event_id := new_id())}"
        assert stack.deliver_fynapse(extract_body(event_id)).status == 200
        # Its signature is valid, but older than the tolerance before the update.
        late_body, signed_at = extract_body(late_id := new_id()), time.time() - 400
        assert stack.deliver_fynapse(late_body, signed_at=signed_at).status == 403
        record = stack.event(event)
        assert record["state"] == "sent"

        stack.deploy(FynapseToleranceSecs="900")

        assert stack.outputs == outputs
        assert [stack.secret_hash(name) for name in SECRETS] == secrets
        assert stack.event(event) == record
        assert stack.deliver_rightfoot(url, completion_body(new_id())).status_and_body == (200, '{"status":"received"}')
        # The new tolerance is in force, and the quarantined delivery can be replayed.
        assert stack.deliver_fynapse(extract_body(new_id()), signed_at=signed_at).status == 200
        stack.inboxctl("quarantine", "replay", "--reason", "stale", "--why", "the tolerance was raised", "--yes")

    assert stack.wait_until_done(event)["sent_at"] == record["sent_at"], "its message stayed on the queue"
    for event_id in (event, f"fynapse/event/{late_id}"):
        assert bus.wait_for("BalanceExtracted", event_id=event_id)


@contextmanager
def worker_disabled(stack: Stack) -> Iterator[None]:
    """Disables the worker's event source mapping, as an operator may do. A deployment does not enable it."""
    functions = stack.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"{stack.name}-event-worker")["EventSourceMappings"]

    def state() -> str:
        return functions.get_event_source_mapping(UUID=mapping["UUID"])["State"]

    def switch(enabled: bool, wanted: str) -> None:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
        wait_until(f"the mapping to be {wanted}", lambda: state() == wanted)

    switch(False, "Disabled")
    try:
        yield
    finally:
        switch(True, "Enabled")


def test_cargo_lambda_deploy_updates_only_the_code(stack: Stack, tools: dict[str, Path]):
    function = f"{stack.name}-fynapse-webhook"
    before, functions = function_configuration(stack, "fynapse-webhook"), function_names(stack)
    # This code cannot start, so a successful delivery later proves the update.
    stack.client("lambda").update_function_code(FunctionName=function, ZipFile=zipped("bootstrap", "#!/bin/sh\nexit 1\n"))
    assert stack.deliver_fynapse(extract_body(new_id())).status >= 500

    command = [tools["cargo-lambda"], "lambda", "deploy", "--binary-name", "fynapse-webhook", function]
    try:
        run_tool("cargo lambda deploy", command, stack.aws.environment, stack.aws.scratch / "cargo-lambda.log")
    finally:
        # cargo-lambda leaves this file, and the next `sam deploy` would pack it, too.
        (REPOSITORY / "target/lambda/fynapse-webhook/bootstrap.zip").unlink(missing_ok=True)

    assert stack.deliver_fynapse(extract_body(new_id())).status_and_body == (200, '{"status":"received"}')
    after = function_configuration(stack, "fynapse-webhook")
    for name in ("Environment", "Role", "MemorySize", "Timeout", "Runtime", "Handler", "Architectures", "LoggingConfig", "TracingConfig"):
        assert after.get(name) == before.get(name), name
    assert function_names(stack) == functions


def function_names(stack: Stack) -> list[str]:
    """The names of all functions of the account."""
    return sorted(it["FunctionName"] for it in stack.client("lambda").list_functions()["Functions"])


def zipped(name: str, text: str) -> bytes:
    """A zip with one executable file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, text)
    return buffer.getvalue()
