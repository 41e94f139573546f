"""Receives the events on a stack's bus through a rule with an SQS target, as a consumer would."""

import json

from stack import Stack
from waiting import wait_until


class BusListener:
    """Collects every event that is published after its creation."""

    def __init__(self, stack: Stack, name: str = "listener"):
        self._received: list[dict] = []
        self._sqs, events = stack.client("sqs"), stack.client("events")
        bus = stack.outputs["EventBusName"]
        self._queue_url = self._sqs.create_queue(QueueName=f"{stack.name}-{name}")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue_url, Attributes={"Policy": policy})
        events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": ["balance-inbox"]}))
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])

    def wait_for(self, detail_type: str, timeout_secs: float = 30, **fields) -> dict:
        """Waits for an event whose detail has these fields, and returns its detail."""

        def first_match() -> dict | None:
            return next(iter(self.details(detail_type, **fields)), None)

        return wait_until(f"{detail_type} with {fields}", first_match, timeout_secs)

    def details(self, detail_type: str, **fields) -> list[dict]:
        """The details of all events so far that have these fields."""
        return [event["detail"] for event in self.events(detail_type, **fields)]

    def events(self, detail_type: str, **fields) -> list[dict]:
        """The same events with their envelopes, as EventBridge sends them to a target."""
        self._receive_all()
        return [event for event in self._received
                if event["detail-type"] == detail_type and fields.items() <= event["detail"].items()]

    def _receive_all(self) -> None:
        while messages := self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._received.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
