"""Webhooks, by HTTP, through the API's routes."""

import pytest
from bus import Listener
from deliveries import JSON, completion, fynapse_event, new_id, signed
from documents import resolve
from stack import FYNAPSE_SECRET, Stack
from waiting import until

RECEIVED = (200, '{"status":"received"}')
DUPLICATE = (200, '{"status":"duplicate"}')
FORBIDDEN = (403, '{"error":"Forbidden"}')

# What makes the gateway hand over a body in base64.
ENCODED = [
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "application/octet-stream"},
    {},
]


def test_what_fynapse_delivers_twice_is_told_once(stack: Stack, bus: Listener):
    event_id = new_id()
    body = fynapse_event(event_id)
    assert [stack.fynapse(body).said, stack.fynapse(body).said] == [RECEIVED, DUPLICATE]
    told = bus.hears("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    assert told["data"]["data"] == {"amount": 150.25}
    assert told["origin"] == "webhook"
    stack.waits_until_done(told["event_id"])
    assert stack.fynapse(body).said == DUPLICATE
    assert len(bus.told("BalanceExtracted", event_id=told["event_id"])) == 1


def test_what_rightfoot_delivers_twice_is_one_event(stack: Stack):
    url, body = stack.mint("by-hand"), completion(batch := new_id())
    assert [stack.rightfoot(url, body).said, stack.rightfoot(url, body).said] == [RECEIVED, DUPLICATE]
    # Another event_uuid does not make it another event.
    assert stack.rightfoot(url, completion(batch)).said == DUPLICATE
    assert stack.event(f"rightfoot/batch/{batch}/completed")["subject"] == "by-hand"


def test_what_is_forged_is_refused_and_leaves_no_trace(stack: Stack):
    event_id = new_id()
    body = fynapse_event(event_id)
    proof = signed(body, FYNAPSE_SECRET)
    path = "/webhooks/fynapse"
    assert stack.fynapse(body, secret="another").said == FORBIDDEN
    assert stack.post(path, body + b" ", {**proof, **JSON}).said == FORBIDDEN
    assert stack.post(path, body, JSON).said == FORBIDDEN
    assert not stack.has_a_trace_of(event_id)

    batch = new_id()
    url = stack.mint("forged")
    forged = url[:-2] + ("A" if url[-2] != "A" else "B") + url[-1]
    assert stack.rightfoot(forged, completion(batch)).said == FORBIDDEN
    assert stack.rightfoot(url.replace("/forged.", "/other."), completion(batch)).said == FORBIDDEN
    assert not stack.has_a_trace_of(batch)

    # What is genuine leaves one.
    assert stack.fynapse(body).said == RECEIVED
    assert stack.has_a_trace_of(event_id)


@pytest.mark.waits
def test_a_rotated_secret_counts_without_a_deploy(stack: Stack):
    stack.put_secret("FynapseSigningSecretArn", f'["e2e-new-secret","{FYNAPSE_SECRET}"]')
    body = fynapse_event(new_id())
    # A mismatch makes the function fetch the secret again, at most every half a minute.
    until("the new secret to count", lambda: stack.fynapse(body, secret="e2e-new-secret").status == 200, secs=40, every_secs=2)
    assert stack.fynapse(fynapse_event(new_id()), secret="e2e-new-secret").said == RECEIVED
    assert stack.fynapse(fynapse_event(new_id())).said == RECEIVED, "the old secret still counts"


@pytest.mark.parametrize("kib", [150, 250, 1300])
def test_a_large_event_is_told_to_the_byte(stack: Stack, bus: Listener, kib: int):
    event_id = new_id()
    body = fynapse_event(event_id, rows=[f"{number:08} {new_id()}" for number in range(kib * 1024 // 49)])
    assert kib * 1024 < len(body) * 1.02
    assert stack.fynapse(body).said == RECEIVED
    told = bus.hears("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    # Beyond 200 KiB it is told by reference alone. The code in functions/README.md follows it.
    assert ("data" in told) == (kib < 200)
    assert resolve(stack, told["dataref"]) == body


@pytest.mark.parametrize("headers", ENCODED, ids=lambda headers: headers.get("content-type", "no content type"))
def test_a_body_that_the_gateway_encodes_is_proven_as_it_was_sent(stack: Stack, bus: Listener, headers: dict):
    event_id = new_id()
    body = fynapse_event(event_id, note="ü&=%+ \u2028")
    assert stack.fynapse(body, headers=headers).said == RECEIVED
    told = bus.hears("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    assert resolve(stack, told["dataref"]) == body

    batch = new_id()
    assert stack.rightfoot(stack.mint("encoded"), completion(batch), headers=headers).said == RECEIVED
    assert stack.event(f"rightfoot/batch/{batch}/completed")


@pytest.mark.parametrize("method, path", [
    ("GET", "/webhooks/fynapse"), ("PUT", "/webhooks/fynapse"), ("GET", "/webhooks/rightfoot/a.b"),
    ("POST", "/webhooks/rightfoot"), ("POST", "/webhooks/other"), ("POST", "/"),
])
def test_nothing_else_is_answered(stack: Stack, method: str, path: str):
    assert stack.call(method, path, JSON, b"{}").status == 404
