"""Idempotency by a conditional write. The table has the partition key `pk`, a string."""

import time

from botocore.exceptions import ClientError


def put_once(table, item):
    """Puts the item, unless one with its key exists. This is all that an effect in your own table needs."""
    try:
        table.put_item(Item=item, ConditionExpression="attribute_not_exists(pk)")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def run_once(table, key, context, effect):
    """Runs the effect, unless it has succeeded for this key before. Fails while another invocation runs it.

    If the function crashes after the effect and before the last write, a retry runs the effect again. So the effect needs an idempotency
    key of its own.
    """
    now = int(time.time() * 1000)
    # This invocation has ended by then, even if it crashes, and a retry may take over.
    lease = {"pk": key, "leased_until": now + context.get_remaining_time_in_millis()}
    try:
        table.put_item(
            Item=lease,
            ConditionExpression="attribute_not_exists(pk) OR leased_until < :now",
            ExpressionAttributeValues={":now": now},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        if "done_at" in error.response["Item"]:
            return
        raise RuntimeError("another invocation is processing the event; Lambda retries this one") from None
    effect()
    table.put_item(Item={"pk": key, "done_at": int(time.time() * 1000)})
