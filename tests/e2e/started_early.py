"""What the schedules have to find. It is begun before all else, so that their minutes pass while other stories are told."""

from bus import Listener
from deliveries import fynapse_event, new_id
from rightfoot import authorizer
from stack import Stack

RUNNERS = ["runner-1", "runner-2"]
THRESHOLD = 0.01


class Begun:
    def __init__(self, stack: Stack, beside: Stack):
        self.bus, self.bus_beside = Listener(stack), Listener(beside)
        self.unsent = deliver_while_the_queue_refuses(beside)
        self.untold = beside.request(
            action="submit_batch", submission_id="untold", authorizers=[authorizer("user-1"), authorizer("user-2")]
        )["batch_id"]
        self.replayed = replay(stack)
        # A threshold of next to nothing, which whoever has a balance meets.
        self.schedule = stack.request(
            action="create_schedule", submission_id="daily", name="daily", interval_days=1, threshold_amount=THRESHOLD,
            authorizers=[authorizer(name) for name in RUNNERS],
        )["schedule_id"]


def deliver_while_the_queue_refuses(stack: Stack) -> str:
    """An event that is recorded, and whose message is too large for the queue just then."""
    event_id = new_id()
    with stack.events_queue(MaximumMessageSize="1024"):
        answer = stack.fynapse(fynapse_event(event_id, note="x" * 2000))
    assert answer.said == (200, '{"status":"received"}')
    return f"fynapse/event/{event_id}"


def replay(stack: Stack) -> str:
    """A done event that an operator wants to have told again: the relay sends it."""
    event_id = new_id()
    assert stack.fynapse(fynapse_event(event_id)).status == 200
    stack.waits_until_done(event := f"fynapse/event/{event_id}")
    stack.inboxctl("events", "replay", event, "--why", "a rule of ours had failed", "--yes")
    return event
