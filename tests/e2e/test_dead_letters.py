"""Messages that failed too often: listed and redriven with inboxctl."""

import json

import pytest

from bus_listener import BusListener
from stack import Stack
from waiting import wait_until
from webhooks import extract_body, new_id

# Last, because the short visibility timeout would also move messages of other tests to the dead-letter queue.
pytestmark = pytest.mark.slow
DENY_UPDATES = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Action": "dynamodb:UpdateItem", "Resource": "*"}],
}


def dead_letters(stack: Stack, **fields) -> list[dict]:
    messages = stack.inboxctl("dead-letters", "list")["messages"]
    return [message for message in messages if fields.items() <= message.items()]


def test_a_foreign_message_is_dead_lettered_and_can_be_redriven(stack_with_fast_retries: Stack):
    stack = stack_with_fast_retries
    sent = stack.client("sqs").send_message(QueueUrl=stack.outputs["EventsQueueUrl"], MessageBody="no event")
    foreign = {"message_id": sent["MessageId"], "event": None}
    wait_until("the foreign message to be dead-lettered", lambda: dead_letters(stack, **foreign), timeout_secs=60)
    planned = stack.inboxctl("dead-letters", "redrive", "--dry-run")["planned"]
    assert foreign["message_id"] in [message["message_id"] for message in planned]
    assert dead_letters(stack, **foreign), "a dry run moves nothing"
    moved = stack.inboxctl("dead-letters", "redrive", "--why", "to see it fail again", "--yes")["moved"]
    assert [message["error"] for message in moved if message["message_id"] == sent["MessageId"]] == [None]
    wait_until("the foreign message to be dead-lettered again", lambda: dead_letters(stack, event=None), timeout_secs=60)


def test_an_event_that_failed_for_lack_of_a_permission_is_done_after_a_redrive(
    stack_with_fast_retries: Stack, second_bus: BusListener
):
    stack = stack_with_fast_retries
    policy = {"RoleName": role_of(stack, "event-worker"), "PolicyName": "deny-updates"}
    iam = stack.client("iam")
    iam.put_role_policy(**policy, PolicyDocument=json.dumps(DENY_UPDATES))
    event = f"fynapse/event/{(event_id := new_id())}"
    try:
        assert stack.deliver_fynapse(extract_body(event_id)).status == 200
        wait_until("the event to be dead-lettered", lambda: dead_letters(stack, event=event), timeout_secs=60)
    finally:
        iam.delete_role_policy(**policy)
    assert stack.event(event)["state"] == "sent"
    assert not second_bus.details("BalanceExtracted", event_id=event)

    stack.inboxctl("dead-letters", "redrive", "--why", "the permission is back", "--yes")
    done = stack.wait_until_done(event)
    assert [(it["by"], it["action"]) for it in done["audit_entries"]] == [("e2e", "redrive")]
    assert second_bus.wait_for("BalanceExtracted", event_id=event)
    assert not dead_letters(stack, event=event)


def role_of(stack: Stack, function: str) -> str:
    configuration = stack.client("lambda").get_function_configuration(FunctionName=f"{stack.name}-{function}")
    return configuration["Role"].rsplit("/", 1)[-1]
