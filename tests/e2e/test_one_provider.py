"""Stacks for one provider alone, from their first deployment on."""

from pathlib import Path

import pytest
from bus_listener import BusListener
from emulator import Emulator
from stack import Stack
from webhooks import completion_body, extract_body, new_id

pytestmark = pytest.mark.nightly


def functions_of(stack: Stack) -> set[str]:
    names = {function["FunctionName"] for function in stack.client("lambda").list_functions()["Functions"]}
    return {name.removeprefix(f"{stack.name}-") for name in names if name.startswith(f"{stack.name}-")}


def failed_checks(stack: Stack) -> list[dict]:
    return [it for it in stack.inboxctl("doctor", fails=None)["checks"] if it["status"] in ("fail", "unknown")]


def test_a_stack_for_fynapse_alone(aws: Emulator, tools: dict[str, Path]):
    stack = Stack.create("fynapse", aws, tools, RightfootEnabled="false")
    assert functions_of(stack) == {"event-relay", "event-worker", "fynapse-webhook"}
    bus = BusListener(stack)
    assert stack.deliver_fynapse(extract_body(event_id := new_id())).status == 200
    assert bus.wait_for("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    assert stack.post("/webhooks/rightfoot/a.b", completion_body(new_id()), {}).status == 404
    assert failed_checks(stack) == []


def test_a_stack_for_rightfoot_alone(aws: Emulator, tools: dict[str, Path]):
    stack = Stack.create("rightfoot", aws, tools, FynapseEnabled="false", EventWorkerEnabled="false")
    rightfoot = {"rightfoot-poller", "rightfoot-requests", "rightfoot-webhook"}
    assert functions_of(stack) == rightfoot | {"event-relay"}
    assert stack.deliver_rightfoot(stack.mint_url("alone"), completion_body(new_id())).status == 200
    # A stranger's delivery finds no route, so nothing is unavailable.
    assert stack.post("/webhooks/fynapse", extract_body(new_id()), {}).status == 404
    assert not [line for line in stack.log_lines() if "secret_fetch_failed" in line or "unavailable" in line]
    assert failed_checks(stack) == []

