"""Messages that were received too often: listed, and redriven, with inboxctl."""

import json

import pytest

from bus import Listener
from deliveries import fynapse_event, new_id
from stack import Stack
from waiting import until

# While messages come again after seconds, one that others wait for must not be among them.
pytestmark = pytest.mark.waits
NO_MORE_WRITES = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Action": "dynamodb:UpdateItem", "Resource": "*"}],
}


def dead(stack: Stack, **facts) -> list[dict]:
    letters = stack.inboxctl("dead-letters", "list")["messages"]
    return [letter for letter in letters if facts.items() <= letter.items()]


def test_a_message_that_is_none_of_ours_dies_and_can_be_moved_back(impatient: Stack):
    sent = impatient.client("sqs").send_message(QueueUrl=impatient.outputs["EventsQueueUrl"], MessageBody="no event")
    stranger = {"message_id": sent["MessageId"], "event": None}
    until("the stranger to die", lambda: dead(impatient, **stranger), secs=60)
    planned = impatient.inboxctl("dead-letters", "redrive", "--dry-run")["planned"]
    assert stranger["message_id"] in [letter["message_id"] for letter in planned]
    assert dead(impatient, **stranger), "a dry run moves nothing"
    moved = impatient.inboxctl("dead-letters", "redrive", "--why", "to see it die again", "--yes")["moved"]
    assert [letter["error"] for letter in moved if letter["message_id"] == sent["MessageId"]] == [None]
    until("the stranger to die again", lambda: dead(impatient, event=None), secs=60)


def test_an_event_whose_worker_lacked_a_permission_is_done_after_its_redrive(impatient: Stack, bus_beside: Listener):
    role = {"RoleName": role_of(impatient, "event-worker"), "PolicyName": "no-more-writes"}
    iam = impatient.client("iam")
    iam.put_role_policy(**role, PolicyDocument=json.dumps(NO_MORE_WRITES))
    event = f"fynapse/event/{(event_id := new_id())}"
    try:
        assert impatient.fynapse(fynapse_event(event_id)).status == 200
        until("the event to die", lambda: dead(impatient, event=event), secs=60)
    finally:
        iam.delete_role_policy(**role)
    assert impatient.event(event)["state"] == "sent"
    assert not bus_beside.told("BalanceExtracted", event_id=event)

    impatient.inboxctl("dead-letters", "redrive", "--why", "the permission is back", "--yes")
    done = impatient.waits_until_done(event)
    assert [(it["by"], it["action"]) for it in done["audit_entries"]] == [("e2e", "redrive")]
    assert bus_beside.hears("BalanceExtracted", event_id=event)
    assert not dead(impatient, event=event)


def role_of(stack: Stack, function: str) -> str:
    told = stack.client("lambda").get_function_configuration(FunctionName=f"{stack.name}-{function}")
    return told["Role"].rsplit("/", 1)[-1]
