"""What is submitted through rightfoot-requests, and what becomes of it."""

import decimal

import boto3
import pytest
from started_early import RUNNERS, THRESHOLD, Begun
from boto3.dynamodb.conditions import Key
from bus import Listener
from deliveries import new_id
from rightfoot import Rightfoot, authorizer
from stack import Stack
from waiting import until


def stored(stack: Stack, authorizer_id: str, batch_id: str) -> list[dict]:
    table = boto3.resource("dynamodb", **stack.boto).Table(stack.outputs["BalancesTableName"])
    rows = table.query(KeyConditionExpression=Key("pk").eq(authorizer_id))["Items"]
    return [row for row in rows if row["batch_id"] == batch_id]


def has_the_balances_that_the_api_shows(stack: Stack, rightfoot: Rightfoot, batch_id: str, authorizers: set[str]) -> None:
    shown = rightfoot.balances(batch_id)
    assert {it["authorizer_unique_id"] for it in shown} == authorizers
    for it in shown:
        (row,) = stored(stack, it["authorizer_unique_id"], batch_id)
        balance = it.get("balance")
        assert row["balance"] == (None if balance is None else decimal.Decimal(str(balance)))


def test_a_batch_ends_in_its_balances_and_in_one_completion(stack: Stack, bus: Listener, rightfoot: Rightfoot):
    people = {f"person-{number}" for number in range(25)}
    submission = {"action": "submit_batch", "submission_id": new_id(),
                  "authorizers": [authorizer(name) for name in sorted(people)]}
    batch_id = stack.request(**submission)["batch_id"]
    assert stack.request(**submission)["batch_id"] == batch_id, "a repeated request is the same batch"

    told = bus.hears("BalanceBatchCompleted", batch_id=batch_id)
    assert (told["origin"], told["expected"], told["found"]) == ("webhook", 25, 25)
    assert told["subject"] == submission["submission_id"]
    has_the_balances_that_the_api_shows(stack, rightfoot, batch_id, people)
    stack.waits_until_done(told["event_id"])
    assert len(bus.told("BalanceBatchCompleted", batch_id=batch_id)) == 1


def test_what_is_told_by_nobody_who_knows_the_batch_has_no_effect(stack: Stack, bus: Listener):
    event = stack.inboxctl("send", "rightfoot")["event"]
    until("the worker to have put it back", lambda: stack.event(event)["requeues"])
    assert stack.event(event)["done_at"] is None
    assert not bus.told("BalanceBatchCompleted", event_id=event)


@pytest.mark.waits
def test_a_lost_webhook_is_found_by_the_scheduled_poller(
    beside: Stack, bus_beside: Listener, begun: Begun, silent_rightfoot: Rightfoot
):
    told = bus_beside.hears("BalanceBatchCompleted", secs=240, batch_id=begun.untold)
    assert (told["origin"], told["found"]) == ("poll", 2)
    has_the_balances_that_the_api_shows(beside, silent_rightfoot, begun.untold, {"user-1", "user-2"})
    assert len(bus_beside.told("BalanceBatchCompleted", batch_id=begun.untold)) == 1


@pytest.mark.waits
def test_an_event_that_the_queue_refused_is_sent_by_the_scheduled_relay(
    beside: Stack, bus_beside: Listener, begun: Begun
):
    assert bus_beside.hears("BalanceExtracted", secs=180, event_id=begun.unsent)
    event = beside.waits_until_done(begun.unsent)
    assert event["attempts"] >= 1, "the relay has sent it"
    assert len(bus_beside.told("BalanceExtracted", event_id=begun.unsent)) == 1


@pytest.mark.waits
def test_whoever_meets_the_threshold_of_a_schedule_is_told_once_per_run(
    stack: Stack, bus: Listener, begun: Begun, rightfoot: Rightfoot
):
    run = bus.hears("BalanceThresholdMet", secs=400, schedule_id=begun.schedule)["batch_id"]
    shown = rightfoot.balances(run)
    assert {it["authorizer_unique_id"] for it in shown} == set(RUNNERS)
    meeting = sorted(it["authorizer_unique_id"] for it in shown if (it.get("balance") or 0) >= THRESHOLD)

    def told() -> list[str]:
        return sorted(it["authorizer_unique_id"] for it in bus.told("BalanceThresholdMet", batch_id=run))

    def is_all_done() -> bool:
        (timeline,) = stack.inboxctl("timeline", run)["timelines"]
        return all(event["state"] == "done" for event in timeline["events"])

    until(f"{meeting} to be told of", told, enough=lambda names: set(names) >= set(meeting))
    # An event that came before the balances is put back for a minute, and the relay's minute may just have passed.
    until(f"whatever was recorded of the run {run} to be done", is_all_done, secs=150)
    assert told() == meeting
    for alert in bus.told("BalanceThresholdMet", batch_id=run):
        assert alert["confirmed"] and alert["threshold"] == str(THRESHOLD)
