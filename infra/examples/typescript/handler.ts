// Processes the events of Balance Inbox: pays once for each alert, and stores the amount of each extract once.
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocument, NumberValue } from "@aws-sdk/lib-dynamodb";
import type { Context, EventBridgeEvent } from "aws-lambda";
import { Big } from "big.js";
import { parse } from "lossless-json";
import { resolve } from "./dataref.js";
import { required } from "./environment.js";
import { putOnce, runOnce } from "./once.js";
import { pay } from "./payments.js";

const MIN_BALANCE = new Big(required("MIN_BALANCE"));
const processed = { dynamodb: DynamoDBDocument.from(new DynamoDBClient()), name: required("PROCESSED_TABLE") };
const inbox = { ...processed, name: required("INBOX_TABLE") };

type Alert = EventBridgeEvent<"BalanceThresholdMet", { id: string; authorizer_unique_id: string; balance: string }>;
type Extract = EventBridgeEvent<"BalanceExtracted", { id: string; dataref: string }>;

export async function handler(event: Alert | Extract, context: Context): Promise<void> {
  if (event["detail-type"] === "BalanceThresholdMet") {
    const { id, authorizer_unique_id, balance } = event.detail;
    if (new Big(balance).lt(MIN_BALANCE)) return;
    await runOnce(processed, id, context, () => pay(id, authorizer_unique_id));
  } else if (event["detail-type"] === "BalanceExtracted") {
    // Not from event.detail.data: its numbers are doubles already, and a large event has none.
    const text = (await resolve(inbox, event.detail.dataref)).toString();
    const payload = parse(text, null, (number) => new Big(number)) as { data: { amount: Big | string } };
    await putOnce(processed, { pk: event.detail.id, amount: NumberValue.from(new Big(payload.data.amount).toFixed()) });
  }
}
