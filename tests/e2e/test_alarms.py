"""Whether the alarms of the deployed stack watch what the deployed functions tell, under its very name and dimensions.

The emulator keeps alarms, but does not read metrics out of log lines as CloudWatch does; so that is done here.
"""

import json
import operator
import statistics
from collections import defaultdict

import pytest
from started_early import Begun
from bus import Listener
from deliveries import fynapse_event, new_id
from stack import Stack
from waiting import until

STATISTICS = {"Sum": sum, "Maximum": max, "SampleCount": len, "Average": statistics.mean}
COMPARISONS = {"GreaterThanThreshold": operator.gt, "GreaterThanOrEqualToThreshold": operator.ge}
Told = dict[tuple, list[float]]


def told_in_logs(stack: Stack) -> Told:
    """Every value by namespace, metric and dimensions, as CloudWatch reads the embedded format."""
    told = defaultdict(list)
    for message in stack.log_lines():
        line = json.loads(message) if '"_aws"' in message else {"_aws": {"CloudWatchMetrics": []}}
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, line[name]) for name in names)
                for metric in directive["Metrics"]:
                    value = line[metric["Name"]]
                    key = directive["Namespace"], metric["Name"], dimensions
                    told[key] += value if isinstance(value, list) else [value]
    return told


def watched(stack: Stack) -> dict[str, tuple[dict, list[float]]]:
    """Each alarm, by its name without the stack's, and the values that it sees."""
    told, pages = told_in_logs(stack), stack.client("cloudwatch").get_paginator("describe_alarms")
    alarms = [alarm for page in pages.paginate(AlarmNamePrefix=f"{stack.name}-") for alarm in page["MetricAlarms"]]
    assert len(alarms) > 30

    def values(alarm: dict) -> list[float]:
        dimensions = frozenset((it["Name"], it["Value"]) for it in alarm["Dimensions"])
        return told.get((alarm["Namespace"], alarm["MetricName"], dimensions), [])

    return {alarm["AlarmName"].removeprefix(f"{stack.name}-"): (alarm, values(alarm)) for alarm in alarms}


def alarmed(stack: Stack) -> set[str]:
    """The alarms that what was told until now sets off."""

    def is_off(alarm: dict, values: list[float]) -> bool:
        is_past = COMPARISONS.get(alarm["ComparisonOperator"])
        return bool(values and is_past and is_past(STATISTICS[alarm["Statistic"]](values), alarm["Threshold"]))

    return {name for name, (alarm, values) in watched(stack).items() if is_off(alarm, values)}


def test_what_is_refused_or_kept_alarms(stack: Stack):
    for _ in range(20):
        stack.fynapse(fynapse_event(new_id()), secret="another")
    for _ in range(3):
        stack.inboxctl("send", "rightfoot", "--spoil", "token")
    stack.inboxctl("send", "fynapse", "--spoil", "timestamp")
    off = alarmed(stack)
    assert {"rejected", "fynapse-mismatch", "rightfoot-mismatch", "stale-but-authentic", "quarantined"} <= off
    # Nothing of this kind has happened.
    absent = {"batch-overdue", "processing-overdue", "claim-lost", "submission-unknown", "poll-failed", "key-refused"}
    assert not absent & off


@pytest.mark.waits
def test_what_the_poller_has_found_is_told(beside: Stack, bus_beside: Listener, begun: Begun):
    assert bus_beside.hears("BalanceBatchCompleted", secs=240, batch_id=begun.untold)
    until("found-by-poll to be told", lambda: "found-by-poll" in alarmed(beside))


@pytest.mark.waits
def test_the_schedules_are_heard_by_the_alarms_that_miss_them(stack: Stack):
    def unheard() -> list[str]:
        alarms = watched(stack).items()
        return [name for name, (alarm, values) in alarms if alarm["TreatMissingData"] == "breaching" and not values]

    assert {"relay-stopped", "poller-stopped"} <= set(watched(stack))
    until("both schedules to be heard", lambda: not unheard(), secs=120)
