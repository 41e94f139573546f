"""Processes the events of Balance Inbox: pays once for each alert, and stores the amount of each extract once."""

import json
import os
from decimal import Decimal

import boto3
from dataref import resolve
from once import put_once, run_once
from payments import pay

MIN_BALANCE = Decimal(os.environ["MIN_BALANCE"])
dynamodb = boto3.resource("dynamodb")
processed, inbox = (dynamodb.Table(os.environ[name]) for name in ("PROCESSED_TABLE", "INBOX_TABLE"))


def handler(event, context):
    detail = event["detail"]
    if event["detail-type"] == "BalanceThresholdMet" and Decimal(detail["balance"]) >= MIN_BALANCE:
        run_once(processed, detail["id"], context, lambda: pay(detail["id"], detail["authorizer_unique_id"]))
    elif event["detail-type"] == "BalanceExtracted":
        # Not from detail["data"]: its numbers are floats already, and a large event has none.
        payload = json.loads(resolve(inbox, detail["dataref"]), parse_float=Decimal)
        put_once(processed, {"pk": detail["id"], "amount": Decimal(payload["data"]["amount"])})
