"""Somebody who wants to know what is told on the bus: a rule with an SQS target, as a user would attach it."""

import json

from stack import Stack
from waiting import until


class Listener:
    def __init__(self, stack: Stack, name: str = "listener"):
        self.heard: list[dict] = []
        self._sqs, events = stack.client("sqs"), stack.client("events")
        bus = stack.outputs["EventBusName"]
        self._queue = self._sqs.create_queue(QueueName=f"{stack.name}-{name}")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        may = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": ["balance-inbox"]}))
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])

    def hears(self, what: str, secs: float = 30, **detail) -> dict:
        """Waits until something is told with these details, and gives it back."""

        def look():
            self._listen()
            return next(iter(self.told(what, **detail)), None)

        return until(f"{what} with {detail}", look, secs)

    def told(self, what: str, **detail) -> list[dict]:
        """The details of whatever was told until now."""
        return [event["detail"] for event in self.envelopes(what, **detail)]

    def envelopes(self, what: str, **detail) -> list[dict]:
        """The whole events, as EventBridge hands them to a target."""
        self._listen()
        return [event for event in self.heard
                if event["detail-type"] == what and detail.items() <= event["detail"].items()]

    def _listen(self) -> None:
        while True:
            received = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
            for message in received:
                self.heard.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            if not received:
                return
