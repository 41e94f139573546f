"""Batches and schedules that are submitted through rightfoot-requests, up to their balances and events."""

import decimal

import boto3
import pytest
from boto3.dynamodb.conditions import Key
from bus_listener import BusListener
from rightfoot_simulator import RightfootSimulator, authorizer
from scheduled_work import SCHEDULE_AUTHORIZERS, SCHEDULE_THRESHOLD, ScheduledWork
from stack import Stack
from waiting import wait_until
from webhooks import new_id


def stored_balances(stack: Stack, authorizer_id: str, batch_id: str) -> list[dict]:
    table = boto3.resource("dynamodb", **stack.client_options).Table(stack.outputs["BalancesTableName"])
    items = table.query(KeyConditionExpression=Key("pk").eq(authorizer_id))["Items"]
    return [item for item in items if item["batch_id"] == batch_id]


def assert_balances_are_stored(stack: Stack, rightfoot: RightfootSimulator, batch_id: str, authorizers: set[str]) -> None:
    """The table has one balance for each of these authorizers, and it is the one that Rightfoot's API returns."""
    api_balances = rightfoot.balances(batch_id)
    assert {it["authorizer_unique_id"] for it in api_balances} == authorizers
    for it in api_balances:
        (item,) = stored_balances(stack, it["authorizer_unique_id"], batch_id)
        balance = it.get("balance")
        assert item["balance"] == (None if balance is None else decimal.Decimal(str(balance)))


def test_a_submitted_batch_ends_in_stored_balances_and_one_completion_event(
    stack: Stack, bus: BusListener, rightfoot: RightfootSimulator
):
    authorizers = {f"person-{number}" for number in range(25)}
    submission = {"action": "submit_batch", "submission_id": new_id(),
                  "authorizers": [authorizer(name) for name in sorted(authorizers)]}
    batch_id = stack.request(**submission)["batch_id"]
    assert stack.request(**submission)["batch_id"] == batch_id, "a repeated request is the same batch"

    completion = bus.wait_for("BalanceBatchCompleted", batch_id=batch_id)
    assert (completion["origin"], completion["expected"], completion["found"]) == ("webhook", 25, 25)
    assert completion["subject"] == submission["submission_id"]
    assert_balances_are_stored(stack, rightfoot, batch_id, authorizers)
    stack.wait_until_done(completion["event_id"])
    assert len(bus.details("BalanceBatchCompleted", batch_id=batch_id)) == 1


def test_a_completion_of_a_batch_unknown_to_rightfoot_is_requeued_and_not_published(stack: Stack, bus: BusListener):
    event = stack.inboxctl("send", "rightfoot")["event"]
    wait_until("the worker to requeue the event", lambda: stack.event(event)["requeues"])
    assert stack.event(event)["done_at"] is None
    assert not bus.details("BalanceBatchCompleted", event_id=event)


@pytest.mark.slow
def test_the_scheduled_poller_completes_a_batch_whose_webhook_was_lost(
    second_stack: Stack, second_bus: BusListener, scheduled_work: ScheduledWork, second_rightfoot: RightfootSimulator
):
    batch_id = scheduled_work.batch_without_webhook
    completion = second_bus.wait_for("BalanceBatchCompleted", timeout_secs=240, batch_id=batch_id)
    assert (completion["origin"], completion["found"]) == ("poll", 2)
    assert_balances_are_stored(second_stack, second_rightfoot, batch_id, {"user-1", "user-2"})
    assert len(second_bus.details("BalanceBatchCompleted", batch_id=batch_id)) == 1


@pytest.mark.slow
def test_the_scheduled_relay_enqueues_an_event_that_sqs_rejected(
    second_stack: Stack, second_bus: BusListener, scheduled_work: ScheduledWork
):
    event_id = scheduled_work.event_not_enqueued
    assert second_bus.wait_for("BalanceExtracted", timeout_secs=180, event_id=event_id)
    event = second_stack.wait_until_done(event_id)
    assert event["attempts"] >= 1, "the relay has sent it"
    assert len(second_bus.details("BalanceExtracted", event_id=event_id)) == 1


@pytest.mark.slow
def test_a_run_of_a_schedule_publishes_one_alert_for_each_balance_that_meets_the_threshold(
    stack: Stack, bus: BusListener, scheduled_work: ScheduledWork, rightfoot: RightfootSimulator
):
    run = bus.wait_for("BalanceThresholdMet", timeout_secs=400, schedule_id=scheduled_work.schedule_id)["batch_id"]
    api_balances = rightfoot.balances(run)
    assert {it["authorizer_unique_id"] for it in api_balances} == set(SCHEDULE_AUTHORIZERS)
    expected = sorted(it["authorizer_unique_id"] for it in api_balances if (it.get("balance") or 0) >= SCHEDULE_THRESHOLD)

    def alerted() -> list[str]:
        return sorted(it["authorizer_unique_id"] for it in bus.details("BalanceThresholdMet", batch_id=run))

    def all_events_are_done() -> bool:
        (timeline,) = stack.inboxctl("timeline", run)["timelines"]
        return all(event["state"] == "done" for event in timeline["events"])

    wait_until(f"alerts for {expected}", alerted, condition=lambda names: set(names) >= set(expected))
    # An event that arrives before the balances is requeued for a minute, and the relay may have run just before.
    wait_until(f"all events of the run {run} to be done", all_events_are_done, timeout_secs=150)
    assert alerted() == expected
    for alert in bus.details("BalanceThresholdMet", batch_id=run):
        assert alert["confirmed"] and alert["threshold"] == str(SCHEDULE_THRESHOLD)
