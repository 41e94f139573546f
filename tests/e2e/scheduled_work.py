"""Work for the scheduled functions, which run once a minute. It starts before the first test, so that they do it while other tests
run.
"""

from bus_listener import BusListener
from rightfoot_simulator import authorizer
from stack import Stack
from webhooks import extract_body, new_id

SCHEDULE_AUTHORIZERS = ["runner-1", "runner-2"]
# Every authorizer with a balance meets it.
SCHEDULE_THRESHOLD = 0.01


class ScheduledWork:
    def __init__(self, stack: Stack, second_stack: Stack):
        self.bus, self.second_bus = BusListener(stack), BusListener(second_stack)
        self.event_not_enqueued = deliver_while_sqs_rejects(second_stack)
        self.batch_without_webhook = second_stack.request(
            action="submit_batch", submission_id="no-webhook", authorizers=[authorizer("user-1"), authorizer("user-2")]
        )["batch_id"]
        self.replayed_event = process_and_replay(stack)
        self.schedule_id = stack.request(
            action="create_schedule", submission_id="daily", name="daily", interval_days=1, threshold_amount=SCHEDULE_THRESHOLD,
            authorizers=[authorizer(name) for name in SCHEDULE_AUTHORIZERS],
        )["schedule_id"]


def deliver_while_sqs_rejects(stack: Stack) -> str:
    """Delivers an event whose message is too large for the queue at that time, and returns the event's id."""
    event_id = new_id()
    with stack.queue_attributes(MaximumMessageSize="1024"):
        response = stack.deliver_fynapse(extract_body(event_id, note="x" * 2000))
    assert response.status_and_body == (200, '{"status":"received"}')
    return f"fynapse/event/{event_id}"


def process_and_replay(stack: Stack) -> str:
    """Delivers an event, replays it once it is done, and returns its id. The relay enqueues it again."""
    event_id = new_id()
    assert stack.deliver_fynapse(extract_body(event_id)).status == 200
    stack.wait_until_done(event := f"fynapse/event/{event_id}")
    stack.inboxctl("events", "replay", event, "--why", "a rule of ours had failed", "--yes")
    return event
