"""The README's handlers, Python's and TypeScript's, with an alert that was on the bus."""

from decimal import Decimal

import boto3
import pytest

from started_early import Begun
from bus import Listener
from handlers import Handler
from stack import Stack

TABLE = "payouts"


@pytest.fixture
def payouts(stack: Stack):
    """The table in which the handlers remember what they have paid."""
    dynamodb = boto3.resource("dynamodb", **stack.boto)
    key = {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "pk", "AttributeType": "S"}
    table = dynamodb.create_table(
        TableName=TABLE, KeySchema=[key[0]], AttributeDefinitions=[key[1]], BillingMode="PAY_PER_REQUEST"
    )
    table.wait_until_exists()
    yield table
    table.delete()


@pytest.mark.waits
@pytest.mark.parametrize("language", ["python", "typescript"])
def test_the_readmes_handler_pays_once_for_an_alert(stack: Stack, bus: Listener, begun: Begun, payouts, language: str):
    bus.hears("BalanceThresholdMet", secs=400, schedule_id=begun.schedule)
    event = bus.envelopes("BalanceThresholdMet", schedule_id=begun.schedule)[0]
    alert = event["detail"]
    handler = Handler(language, stack.aws.scratch / f"handler-{language}", stack.aws.environment)

    with pytest.raises(AssertionError, match="MIN_BALANCE"):
        handler.invoke(event, min_balance="")
    handler.invoke(event, min_balance=str(Decimal(alert["balance"]) + Decimal("0.01")))
    assert handler.payments == []
    for _ in range(2):
        handler.invoke(event, min_balance=alert["balance"])
    assert handler.payments == [[alert["id"], alert["authorizer_unique_id"]]]

    # The function died between the payment and its record.
    payouts.delete_item(Key={"pk": alert["id"]})
    handler.invoke(event, min_balance=alert["balance"])
    assert handler.payments == [[alert["id"], alert["authorizer_unique_id"]]] * 2, "again, under the same key"
