"""The deployed stack as an operator sees it through inboxctl."""

import pytest
from bus_listener import BusListener
from scheduled_work import ScheduledWork
from stack import Stack
from webhooks import extract_body, new_id

SPOILED_DELIVERIES = [
    ("fynapse", "signature"), ("fynapse", "timestamp"), ("fynapse", "body"), ("fynapse", "unsigned"), ("fynapse", "json"),
    ("fynapse", "fields"), ("fynapse", "id"), ("rightfoot", "token"), ("rightfoot", "json"), ("rightfoot", "fields"),
    ("rightfoot", "type"), ("rightfoot", "id"),
]
# Other tests leave something in these, which makes the checks fail.
CHECKS_AFFECTED_BY_OTHER_TESTS = {"dead-letter queue", "quarantine", "submissions"}


def failed_checks(stack: Stack) -> list[str]:
    """The checks of `doctor` that fail or cannot be made, without those that other tests affect."""
    checks = stack.inboxctl("doctor", fails=None)["checks"]
    return [
        it["check"] for it in checks
        if it["status"] in ("fail", "unknown") and it["check"] not in CHECKS_AFFECTED_BY_OTHER_TESTS
    ]


def test_doctor_finds_no_problem_in_a_deployed_stack(stack: Stack):
    assert failed_checks(stack) == []


def doctor_check(stack: Stack, name: str) -> tuple[str, str]:
    """The status and the finding of a check of `doctor`."""
    (check,) = [it for it in stack.inboxctl("doctor", fails=None)["checks"] if it["check"] == name]
    return check["status"], check["finding"]


def test_doctor_reports_that_nobody_gets_the_alarms(stack: Stack):
    assert doctor_check(stack, "alarms") == ("warn", "no alarm has an action: nobody gets them")
    assert doctor_check(stack, "alarm topic") == ("skipped", "the stack's alarms have no topic")


def test_doctor_finds_no_reservation_and_no_throttled_table(stack: Stack):
    assert doctor_check(stack, "reserved concurrency") == ("ok", "no function of the stack has a reservation")
    assert doctor_check(stack, "table throttling") == ("ok", "no table was throttled in the last 24 hours")
    # The emulator's quota depends on the memory of this machine.
    assert doctor_check(stack, "concurrency quota")[0] in ("ok", "warn")


def test_doctor_reports_a_function_that_is_switched_off(second_stack: Stack):
    function, client = f"{second_stack.name}-rightfoot-requests", second_stack.client("lambda")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        found = doctor_check(second_stack, "reserved concurrency")
    finally:
        client.delete_function_concurrency(FunctionName=function)
    assert found == ("fail", f"{function}: a reserved concurrency of 0 switches the function off")


def test_doctor_reports_a_queue_with_another_visibility_timeout(stack_with_fast_retries: Stack):
    assert failed_checks(stack_with_fast_retries) == ["queue of events"]


@pytest.mark.parametrize("provider, spoil", SPOILED_DELIVERIES)
def test_a_spoiled_test_delivery_gets_the_expected_response(stack: Stack, provider: str, spoil: str):
    (response,) = stack.inboxctl("send", provider, "--spoil", spoil)["responses"]
    assert response["is_expected"], response


@pytest.mark.parametrize("reason", ["unreadable", "unknown_type", "unusable_id", "stale"])
def test_a_verified_delivery_that_cannot_be_processed_is_quarantined(stack: Stack, reason: str):
    spoil = {"unreadable": "json", "unknown_type": "type", "unusable_id": "id", "stale": "timestamp"}[reason]
    provider = "rightfoot" if spoil == "type" else "fynapse"

    def quarantined() -> set[str]:
        return {item["item"] for item in stack.inboxctl("quarantine", "list", "--reason", reason)["items"]}

    before = quarantined()
    stack.inboxctl("send", provider, "--spoil", spoil)
    (new,) = quarantined() - before
    assert stack.inboxctl("quarantine", "show", new)["reason"] == reason


def test_an_event_is_in_the_timeline_and_in_the_list_of_events(stack: Stack):
    event_id = new_id()
    assert stack.deliver_fynapse(extract_body(event_id)).status == 200
    event = f"fynapse/event/{event_id}"
    stack.wait_until_done(event)
    (timeline,) = stack.inboxctl("timeline", event_id)["timelines"]
    assert [(it["event"], it["state"]) for it in timeline["events"]] == [(event, "done")]
    listed = stack.inboxctl("events", "list", "--since", "5m", "--type", "balance.extracted", "--limit", "200")["events"]
    assert event in [it["event"] for it in listed]


@pytest.mark.slow
def test_a_replayed_event_is_published_again_under_the_same_id(bus: BusListener, scheduled_work: ScheduledWork):
    event = scheduled_work.replayed_event
    again = bus.wait_for("BalanceExtracted", timeout_secs=120, event_id=event, replay=1)
    (first,) = [it for it in bus.details("BalanceExtracted", event_id=event) if "replay" not in it]
    assert again["id"] == first["id"]
