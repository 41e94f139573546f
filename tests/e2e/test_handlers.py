"""The README's handlers in Python and TypeScript, invoked with an alert from the bus."""

from decimal import Decimal

import boto3
import pytest

from bus_listener import BusListener
from handlers import Handler
from scheduled_work import ScheduledWork
from stack import Stack

TABLE = "payouts"


@pytest.fixture
def payouts(stack: Stack):
    """The table in which the handlers record their payments."""
    dynamodb = boto3.resource("dynamodb", **stack.client_options)
    key = {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "pk", "AttributeType": "S"}
    table = dynamodb.create_table(
        TableName=TABLE, KeySchema=[key[0]], AttributeDefinitions=[key[1]], BillingMode="PAY_PER_REQUEST"
    )
    table.wait_until_exists()
    yield table
    table.delete()


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "typescript"])
def test_the_handler_pays_once_for_an_alert(
    stack: Stack, bus: BusListener, scheduled_work: ScheduledWork, payouts, language: str
):
    schedule_id = scheduled_work.schedule_id
    bus.wait_for("BalanceThresholdMet", timeout_secs=400, schedule_id=schedule_id)
    event = bus.events("BalanceThresholdMet", schedule_id=schedule_id)[0]
    alert = event["detail"]
    handler = Handler(language, stack.aws.scratch / f"handler-{language}", stack.aws.environment)

    with pytest.raises(AssertionError, match="MIN_BALANCE"):
        handler.invoke(event, min_balance="")
    handler.invoke(event, min_balance=str(Decimal(alert["balance"]) + Decimal("0.01")))
    assert handler.payments == []
    for _ in range(2):
        handler.invoke(event, min_balance=alert["balance"])
    assert handler.payments == [[alert["id"], alert["authorizer_unique_id"]]]

    # As if the function had crashed between the payment and its record.
    payouts.delete_item(Key={"pk": alert["id"]})
    handler.invoke(event, min_balance=alert["balance"])
    assert handler.payments == [[alert["id"], alert["authorizer_unique_id"]]] * 2, "again, under the same key"
