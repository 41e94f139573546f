// Idempotency by a conditional write. The table has the partition key `pk`, a string.
import { ConditionalCheckFailedException } from "@aws-sdk/client-dynamodb";
import type { DynamoDBDocument } from "@aws-sdk/lib-dynamodb";
import type { Context } from "aws-lambda";

export type Table = { dynamodb: DynamoDBDocument; name: string };

/** Puts the item, unless one with its key exists. This is all that an effect in your own table needs. */
export async function putOnce(table: Table, item: { pk: string } & Record<string, unknown>): Promise<void> {
  try {
    await table.dynamodb.put({ TableName: table.name, Item: item, ConditionExpression: "attribute_not_exists(pk)" });
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}

/**
 * Runs the effect, unless it has succeeded for this key before. Fails while another invocation runs it.
 *
 * If the function crashes after the effect and before the last write, a retry runs the effect again. So the effect needs an idempotency
 * key of its own.
 */
export async function runOnce(table: Table, key: string, context: Context, effect: () => Promise<void>): Promise<void> {
  const now = Date.now();
  // This invocation has ended by then, even if it crashes, and a retry may take over.
  const lease = { pk: key, leased_until: now + context.getRemainingTimeInMillis() };
  try {
    await table.dynamodb.put({
      TableName: table.name,
      Item: lease,
      ConditionExpression: "attribute_not_exists(pk) OR leased_until < :now",
      ExpressionAttributeValues: { ":now": now },
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    });
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    if (error.Item?.done_at) return;
    throw new Error("another invocation is processing the event; Lambda retries this one");
  }
  await effect();
  await table.dynamodb.put({ TableName: table.name, Item: { pk: key, done_at: Date.now() } });
}
