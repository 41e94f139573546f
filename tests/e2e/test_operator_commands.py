"""What an operator sees and does, with inboxctl alone."""

import pytest
from started_early import Begun
from bus import Listener
from deliveries import fynapse_event, new_id
from stack import Stack

SPOILED = [
    ("fynapse", "signature"), ("fynapse", "timestamp"), ("fynapse", "body"), ("fynapse", "unsigned"), ("fynapse", "json"),
    ("fynapse", "fields"), ("fynapse", "id"), ("rightfoot", "token"), ("rightfoot", "json"), ("rightfoot", "fields"),
    ("rightfoot", "type"), ("rightfoot", "id"),
]


# What other tests have left behind.
LEFT = {"dead-letter queue", "quarantine", "submissions"}


def failed(stack: Stack) -> list[str]:
    """The checks that fail, or could not be made, but for what other tests have left behind."""
    checks = stack.inboxctl("doctor", fails=None)["checks"]
    return [it["check"] for it in checks if it["status"] in ("fail", "unknown") and it["check"] not in LEFT]


def test_the_doctor_finds_nothing_wrong_with_what_was_deployed(stack: Stack):
    assert failed(stack) == []


def test_the_doctor_names_what_is_not_as_the_promises_need(impatient: Stack):
    assert failed(impatient) == ["queue of events"]


@pytest.mark.parametrize("provider, spoil", SPOILED)
def test_a_spoiled_test_delivery_gets_the_answer_that_it_should(stack: Stack, provider: str, spoil: str):
    (answer,) = stack.inboxctl("send", provider, "--spoil", spoil)["responses"]
    assert answer["is_expected"], answer


@pytest.mark.parametrize("reason", ["unreadable", "unknown_type", "unusable_id", "stale"])
def test_what_is_authentic_and_cannot_be_used_is_kept(stack: Stack, reason: str):
    spoil = {"unreadable": "json", "unknown_type": "type", "unusable_id": "id", "stale": "timestamp"}[reason]
    provider = "rightfoot" if spoil == "type" else "fynapse"

    def kept() -> set[str]:
        return {item["item"] for item in stack.inboxctl("quarantine", "list", "--reason", reason)["items"]}

    before = kept()
    stack.inboxctl("send", provider, "--spoil", spoil)
    (new,) = kept() - before
    assert stack.inboxctl("quarantine", "show", new)["reason"] == reason


def test_an_event_can_be_followed_from_its_delivery_to_its_effect(stack: Stack):
    event_id = new_id()
    assert stack.fynapse(fynapse_event(event_id)).status == 200
    event = f"fynapse/event/{event_id}"
    stack.waits_until_done(event)
    (timeline,) = stack.inboxctl("timeline", event_id)["timelines"]
    assert [(it["event"], it["state"]) for it in timeline["events"]] == [(event, "done")]
    listed = stack.inboxctl("events", "list", "--since", "5m", "--type", "balance.extracted", "--limit", "200")["events"]
    assert event in [it["event"] for it in listed]


@pytest.mark.waits
def test_an_event_that_is_replayed_is_told_again_under_its_id(bus: Listener, begun: Begun):
    again = bus.hears("BalanceExtracted", secs=120, event_id=begun.replayed, replay=1)
    (first,) = [it for it in bus.told("BalanceExtracted", event_id=begun.replayed) if "replay" not in it]
    assert again["id"] == first["id"]
