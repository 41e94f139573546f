"""The alarms of the deployed stack use the namespaces, names and dimensions of the metrics that the deployed functions emit.

The emulator stores alarms, but does not extract metrics from log lines as CloudWatch does. These tests extract them.
"""

import json
import operator
import statistics
from collections import defaultdict

import pytest
from bus_listener import BusListener
from scheduled_work import ScheduledWork
from stack import Stack
from waiting import wait_until
from webhooks import extract_body, new_id

STATISTICS = {"Sum": sum, "Maximum": max, "SampleCount": len, "Average": statistics.mean}
COMPARISONS = {"GreaterThanThreshold": operator.gt, "GreaterThanOrEqualToThreshold": operator.ge}
MetricValues = dict[tuple, list[float]]


def logged_metrics(stack: Stack) -> MetricValues:
    """Every value by namespace, metric and dimensions, read from the embedded metric format as CloudWatch reads it."""
    metrics = defaultdict(list)
    for message in stack.log_lines():
        line = json.loads(message) if '"_aws"' in message else {"_aws": {"CloudWatchMetrics": []}}
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, line[name]) for name in names)
                for metric in directive["Metrics"]:
                    value = line[metric["Name"]]
                    key = directive["Namespace"], metric["Name"], dimensions
                    metrics[key] += value if isinstance(value, list) else [value]
    return metrics


def alarms_with_values(stack: Stack) -> dict[str, tuple[dict, list[float]]]:
    """Each alarm and the values of its metric, by the alarm's name without the stack's."""
    metrics, pages = logged_metrics(stack), stack.client("cloudwatch").get_paginator("describe_alarms")
    alarms = [alarm for page in pages.paginate(AlarmNamePrefix=f"{stack.name}-") for alarm in page["MetricAlarms"]]
    assert len(alarms) > 30

    def values(alarm: dict) -> list[float]:
        dimensions = frozenset((it["Name"], it["Value"]) for it in alarm["Dimensions"])
        return metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions), [])

    return {alarm["AlarmName"].removeprefix(f"{stack.name}-"): (alarm, values(alarm)) for alarm in alarms}


def raised_alarms(stack: Stack) -> set[str]:
    """The alarms whose threshold the logged values cross."""

    def is_raised(alarm: dict, values: list[float]) -> bool:
        crosses = COMPARISONS.get(alarm["ComparisonOperator"])
        return bool(values and crosses and crosses(STATISTICS[alarm["Statistic"]](values), alarm["Threshold"]))

    return {name for name, (alarm, values) in alarms_with_values(stack).items() if is_raised(alarm, values)}


def test_rejected_and_quarantined_deliveries_raise_their_alarms(stack: Stack):
    for _ in range(20):
        stack.deliver_fynapse(extract_body(new_id()), secret="another")
    for _ in range(3):
        stack.inboxctl("send", "rightfoot", "--spoil", "token")
    stack.inboxctl("send", "fynapse", "--spoil", "timestamp")
    raised = raised_alarms(stack)
    assert {"rejected", "fynapse-mismatch", "rightfoot-mismatch", "stale-but-authentic", "quarantined"} <= raised
    # Nothing of this kind has happened.
    absent = {"batch-overdue", "processing-overdue", "claim-lost", "submission-unknown", "poll-failed", "key-refused"}
    assert not absent & raised


@pytest.mark.slow
def test_a_batch_found_by_the_poller_raises_found_by_poll(
    second_stack: Stack, second_bus: BusListener, scheduled_work: ScheduledWork
):
    batch_id = scheduled_work.batch_without_webhook
    assert second_bus.wait_for("BalanceBatchCompleted", timeout_secs=240, batch_id=batch_id)
    wait_until("the alarm found-by-poll", lambda: "found-by-poll" in raised_alarms(second_stack))


@pytest.mark.slow
def test_relay_and_poller_emit_the_metrics_of_their_stopped_alarms(stack: Stack):
    def alarms_without_values() -> list[str]:
        alarms = alarms_with_values(stack).items()
        return [name for name, (alarm, values) in alarms if alarm["TreatMissingData"] == "breaching" and not values]

    assert {"relay-stopped", "poller-stopped"} <= set(alarms_with_values(stack))
    wait_until("values for every alarm on missing data", lambda: not alarms_without_values(), timeout_secs=120)
