"""What Fynapse never delivered: found by fynapse-auditor, and resolved with inboxctl."""

from fynapse_simulator import FynapseSimulator
from stack import Stack


def open_deliveries(stack: Stack) -> dict[str, dict]:
    """The missed deliveries that nobody has resolved, by their event."""
    return {it["event"]: it for it in stack.inboxctl("fynapse", "missed", "list")["missed"]}


def deliveries_check(stack: Stack) -> dict:
    (check,) = [it for it in stack.inboxctl("doctor", fails=None)["checks"] if it["check"] == "deliveries of Fynapse"]
    return check


def test_the_auditor_runs_every_quarter_of_an_hour(stack: Stack):
    scheduler = stack.client("scheduler")
    schedules = [scheduler.get_schedule(Name=it["Name"]) for it in scheduler.list_schedules()["Schedules"]]
    (schedule,) = [it for it in schedules if it["Target"]["Arn"].endswith(f":{stack.name}-fynapse-auditor")]
    assert (schedule["ScheduleExpression"], schedule["State"]) == ("rate(15 minutes)", "ENABLED")


def test_a_delivery_that_fynapse_gave_up_is_found_once_and_resolved(stack: Stack, fynapse: FynapseSimulator):
    event = f"fynapse/event/{fynapse.give_up_a_delivery()}"
    run = stack.invoke("fynapse-auditor")
    assert (run["missed"], run["lost"], run["is_complete"]) == (1, 0, True), run
    assert stack.event(event) is None
    missed = open_deliveries(stack)[event]
    assert missed["reason"] == "dead_letter"
    assert deliveries_check(stack)["status"] == "fail"
    assert len([line for line in stack.log_lines("fynapse-auditor") if "event missing" in line and event in line]) == 1

    assert stack.invoke("fynapse-auditor")["missed"] == 0, "found once"
    stack.inboxctl("fynapse", "missed", "resolve", missed["delivery"], "--why", "the extract was run again", "--yes")
    assert event not in open_deliveries(stack)
    assert deliveries_check(stack)["status"] == "ok"
