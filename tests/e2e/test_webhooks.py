"""Webhooks that are delivered by HTTP to the API's routes."""

import pytest
from bus_listener import BusListener
from document_examples import resolve_dataref
from stack import FYNAPSE_SECRET, Stack
from waiting import wait_until
from webhooks import JSON, completion_body, extract_body, new_id, signature_headers

RECEIVED = (200, '{"status":"received"}')
DUPLICATE = (200, '{"status":"duplicate"}')
FORBIDDEN = (403, '{"error":"Forbidden"}')

# API Gateway encodes bodies of these content types in base64.
BASE64_CONTENT_TYPES = [
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "application/octet-stream"},
    {},
]


def test_a_repeated_fynapse_delivery_is_published_once(stack: Stack, bus: BusListener):
    event_id = new_id()
    body = extract_body(event_id)
    responses = [stack.deliver_fynapse(body), stack.deliver_fynapse(body)]
    assert [response.status_and_body for response in responses] == [RECEIVED, DUPLICATE]
    published = bus.wait_for("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    assert published["data"]["data"] == {"amount": 150.25}
    assert published["origin"] == "webhook"
    stack.wait_until_done(published["event_id"])
    assert stack.deliver_fynapse(body).status_and_body == DUPLICATE
    assert len(bus.details("BalanceExtracted", event_id=published["event_id"])) == 1


def test_a_repeated_rightfoot_delivery_is_a_duplicate(stack: Stack):
    url, body = stack.mint_url("by-hand"), completion_body(batch := new_id())
    responses = [stack.deliver_rightfoot(url, body), stack.deliver_rightfoot(url, body)]
    assert [response.status_and_body for response in responses] == [RECEIVED, DUPLICATE]
    # The event_uuid is not part of the dedupe key.
    assert stack.deliver_rightfoot(url, completion_body(batch)).status_and_body == DUPLICATE
    assert stack.event(f"rightfoot/batch/{batch}/completed")["subject"] == "by-hand"


def test_a_forged_delivery_is_rejected_and_not_recorded(stack: Stack):
    event_id = new_id()
    body = extract_body(event_id)
    signature = signature_headers(body, FYNAPSE_SECRET)
    path = "/webhooks/fynapse"
    assert stack.deliver_fynapse(body, secret="another").status_and_body == FORBIDDEN
    assert stack.post(path, body + b" ", {**signature, **JSON}).status_and_body == FORBIDDEN
    assert stack.post(path, body, JSON).status_and_body == FORBIDDEN
    assert not stack.inbox_contains(event_id)

    batch = new_id()
    url = stack.mint_url("forged")
    forged = url[:-2] + ("A" if url[-2] != "A" else "B") + url[-1]
    assert stack.deliver_rightfoot(forged, completion_body(batch)).status_and_body == FORBIDDEN
    other_subject = url.replace("/forged.", "/other.")
    assert stack.deliver_rightfoot(other_subject, completion_body(batch)).status_and_body == FORBIDDEN
    assert not stack.inbox_contains(batch)

    # A genuine delivery of the same event is recorded.
    assert stack.deliver_fynapse(body).status_and_body == RECEIVED
    assert stack.inbox_contains(event_id)


@pytest.mark.slow
def test_a_rotated_secret_is_used_without_a_deployment(stack: Stack):
    stack.put_secret("FynapseSigningSecretArn", f'["e2e-new-secret","{FYNAPSE_SECRET}"]')
    body = extract_body(new_id())

    def is_accepted() -> bool:
        return stack.deliver_fynapse(body, secret="e2e-new-secret").status == 200

    # After a mismatch the function fetches the secret again, at most once in 30 seconds.
    wait_until("the new secret to be accepted", is_accepted, timeout_secs=40, interval_secs=2)
    assert stack.deliver_fynapse(extract_body(new_id()), secret="e2e-new-secret").status_and_body == RECEIVED
    assert stack.deliver_fynapse(extract_body(new_id())).status_and_body == RECEIVED, "the old secret is still accepted"


@pytest.mark.parametrize("kib", [150, 250, 1300])
def test_the_payload_of_a_large_event_is_kept_byte_for_byte(stack: Stack, bus: BusListener, kib: int):
    event_id = new_id()
    body = extract_body(event_id, rows=[f"{number:08} {new_id()}" for number in range(kib * 1024 // 49)])
    assert kib * 1024 < len(body) * 1.02
    assert stack.deliver_fynapse(body).status_and_body == RECEIVED
    published = bus.wait_for("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    # An event of more than 200 KiB has only a dataref.
    assert ("data" in published) == (kib < 200)
    assert resolve_dataref(stack, published["dataref"]) == body


@pytest.mark.parametrize("headers", BASE64_CONTENT_TYPES, ids=lambda headers: headers.get("content-type", "no content type"))
def test_a_body_that_the_gateway_encodes_in_base64_is_verified_as_sent(stack: Stack, bus: BusListener, headers: dict):
    event_id = new_id()
    body = extract_body(event_id, note="ü&=%+ \u2028")
    assert stack.deliver_fynapse(body, headers=headers).status_and_body == RECEIVED
    published = bus.wait_for("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    assert resolve_dataref(stack, published["dataref"]) == body

    batch = new_id()
    url = stack.mint_url("encoded")
    assert stack.deliver_rightfoot(url, completion_body(batch), headers=headers).status_and_body == RECEIVED
    assert stack.event(f"rightfoot/batch/{batch}/completed")


@pytest.mark.parametrize("method, path", [
    ("GET", "/webhooks/fynapse"), ("PUT", "/webhooks/fynapse"), ("GET", "/webhooks/rightfoot/a.b"),
    ("POST", "/webhooks/rightfoot"), ("POST", "/webhooks/other"), ("POST", "/"),
])
def test_other_methods_and_paths_are_not_found(stack: Stack, method: str, path: str):
    assert stack.send(method, path, JSON, b"{}").status == 404
