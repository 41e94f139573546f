"""The webhook of `fynapse-webhook` in Python with Powertools for AWS Lambda: the peer in the start-up bench.

It verifies the HMAC, records the event by the idempotency utility, and enqueues it. It logs one line, and emits the metrics of a
delivery.
"""

import hashlib
import hmac
import json
import os
import time

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2, event_source
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

TOLERANCE_SECS = 300
RETENTION_SECS = 30 * 86_400

logger = Logger(service="fynapse-webhook")
metrics = Metrics(namespace="BalanceInbox", service="fynapse-webhook")
sqs = boto3.client("sqs")
records = DynamoDBPersistenceLayer(
    table_name=os.environ["INBOX_TABLE"], key_attr="pk", sort_key_attr="sk", expiry_attr="expires_at"
)
idempotency = IdempotencyConfig(event_key_jmespath="event_id", expires_after_seconds=RETENTION_SECS)


@metrics.log_metrics
@event_source(data_class=APIGatewayProxyEventV2)
def handle(request: APIGatewayProxyEventV2, context: LambdaContext) -> dict:
    body = request.decoded_body
    metrics.add_metric(name="received", unit=MetricUnit.Count, value=1)
    if not is_verified(request.headers.get("webhook-signature", ""), body):
        metrics.add_metric(name="rejected", unit=MetricUnit.Count, value=1)
        return reply(403, {"error": "Forbidden"})
    idempotency.register_lambda_context(context)
    event = json.loads(body)
    response = enqueue(event=event)
    metrics.add_metric(name="recorded", unit=MetricUnit.Count, value=1)
    logger.info("recorded", event_id=event["event_id"], event_type=event["event_type"], bytes=len(body))
    return reply(200, response)


def is_verified(signature: str, body: str) -> bool:
    secret = parameters.get_secret(os.environ["FYNAPSE_SIGNING_SECRET_ID"], max_age=300)
    elements = dict(element.split("=", 1) for element in signature.split(",") if "=" in element)
    timestamp = elements.get("t", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECS:
        return False
    mac = hmac.new(secret.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac, elements.get("v1", ""))


@idempotent_function(data_keyword_argument="event", config=idempotency, persistence_store=records)
def enqueue(event: dict) -> dict:
    message = {"specversion": "1.0", "id": event["event_id"], "type": event["event_type"], "data": event}
    attributes = {"provider": "fynapse", "type": event["event_type"]}
    sqs.send_message(
        QueueUrl=os.environ["EVENTS_QUEUE_URL"],
        MessageBody=json.dumps(message),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )
    return {"status": "received"}


def reply(status: int, body: dict) -> dict:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
