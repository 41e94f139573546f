"""Deployed again, changed, updated, and beside another stack: data stays, and stays apart."""

import io
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus import Listener
from deliveries import completion, fynapse_event, new_id
from stack import FUNCTIONS, REPOSITORY, Stack, run
from waiting import until

SECRETS = ["FynapseSigningSecretArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"]


def configuration(stack: Stack, function: str) -> dict:
    told = stack.client("lambda").get_function_configuration(FunctionName=f"{stack.name}-{function}")
    told.pop("ResponseMetadata")
    return told


def test_two_stacks_share_nothing(stack: Stack, beside: Stack, bus: Listener, bus_beside: Listener):
    assert not set(stack.outputs.values()) & set(beside.outputs.values())
    event, body = f"fynapse/event/{(event_id := new_id())}", fynapse_event(event_id)
    assert stack.fynapse(body).said == (200, '{"status":"received"}')
    bus.hears("BalanceExtracted", event_id=event)
    assert beside.event(event) is None and not bus_beside.told("BalanceExtracted", event_id=event)
    assert beside.fynapse(body).said == (200, '{"status":"received"}'), "it is new there"
    # A URL of the one is nothing to the other.
    token = stack.mint("shared").rsplit("/", 1)[-1]
    assert beside.rightfoot(beside.outputs["RightfootWebhookUrlPrefix"] + token, completion(new_id())).status == 403


def test_a_deploy_without_a_change_changes_nothing(stack: Stack):
    def all_there_is() -> list:
        return [stack.outputs, *(configuration(stack, function) for function in FUNCTIONS), *map(stack.fingerprint, SECRETS)]

    before = all_there_is()
    stack.deploy()
    assert all_there_is() == before


def test_a_changed_parameter_leaves_records_messages_secrets_and_urls_alone(stack: Stack, bus: Listener):
    url, secrets, outputs = stack.mint("before"), [stack.fingerprint(name) for name in SECRETS], stack.outputs
    with halted_worker(stack):
        event = f"fynapse/event/{(event_id := new_id())}"
        assert stack.fynapse(fynapse_event(event_id)).status == 200
        # Authentic, but too old for what is allowed until now.
        late, signed_at = fynapse_event(late_id := new_id()), time.time() - 400
        assert stack.fynapse(late, at=signed_at).status == 403
        record = stack.event(event)
        assert record["state"] == "sent"

        stack.deploy(FynapseToleranceSecs="900")

        assert stack.outputs == outputs
        assert [stack.fingerprint(name) for name in SECRETS] == secrets
        assert stack.event(event) == record
        assert stack.rightfoot(url, completion(new_id())).said == (200, '{"status":"received"}')
        # The change is there: what was too old is not too old any longer, and what was kept of it can be replayed.
        assert stack.fynapse(fynapse_event(new_id()), at=signed_at).status == 200
        stack.inboxctl("quarantine", "replay", "--reason", "stale", "--why", "the tolerance was raised", "--yes")

    assert stack.waits_until_done(event)["sent_at"] == record["sent_at"], "its message was there all the time"
    for event_id in (event, f"fynapse/event/{late_id}"):
        assert bus.hears("BalanceExtracted", event_id=event_id)


@contextmanager
def halted_worker(stack: Stack) -> Iterator[None]:
    """Nothing leads the queue's messages to the worker. An operator may halt it so; a deploy leaves it as it is."""
    functions = stack.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"{stack.name}-event-worker")["EventSourceMappings"]

    def switch(enabled: bool, wanted: str) -> None:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
        until(f"the mapping to be {wanted}", lambda: functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == wanted)

    switch(False, "Disabled")
    try:
        yield
    finally:
        switch(True, "Enabled")


def test_cargo_lambda_deploy_updates_the_code_and_nothing_else(stack: Stack, tools: dict[str, Path]):
    function = f"{stack.name}-fynapse-webhook"
    before, functions = configuration(stack, "fynapse-webhook"), names_of_functions(stack)
    # Code that cannot even start, so that the update shows.
    stack.client("lambda").update_function_code(FunctionName=function, ZipFile=zipped("bootstrap", "#!/bin/sh\nexit 1\n"))
    assert stack.fynapse(fynapse_event(new_id())).status >= 500

    command = [tools["cargo-lambda"], "lambda", "deploy", "--binary-name", "fynapse-webhook", function]
    try:
        run("cargo lambda deploy", command, stack.aws.environment, stack.aws.scratch / "cargo-lambda.log")
    finally:
        # It leaves this behind, and the next `sam deploy` would pack it too.
        (REPOSITORY / "target/lambda/fynapse-webhook/bootstrap.zip").unlink(missing_ok=True)

    assert stack.fynapse(fynapse_event(new_id())).said == (200, '{"status":"received"}')
    after = configuration(stack, "fynapse-webhook")
    for name in ("Environment", "Role", "MemorySize", "Timeout", "Runtime", "Handler", "Architectures", "LoggingConfig", "TracingConfig"):
        assert after.get(name) == before.get(name), name
    assert names_of_functions(stack) == functions


def names_of_functions(stack: Stack) -> list[str]:
    """Of the whole account."""
    return sorted(it["FunctionName"] for it in stack.client("lambda").list_functions()["Functions"])


def zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, text)
    return buffer.getvalue()
