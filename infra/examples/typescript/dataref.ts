// Reads the payload that a `dataref` refers to from the table `inbox`.
import { createHash } from "node:crypto";
import { inflateRawSync } from "node:zlib";
import type { Table } from "./once.js";

/** Returns the exact bytes. */
export async function resolve(inbox: Table, dataref: string): Promise<Buffer> {
  const record = await get(inbox, recordKey(dataref));
  const payload = record.parts ? await joinParts(inbox, record.parts) : Buffer.from(record.payload);
  if (createHash("sha256").update(payload).digest("hex") !== record.payload_hash) throw new Error("the payload is damaged");
  return payload;
}

function recordKey(dataref: string): Record<string, string> {
  const [provider, , id, ...rest] = dataref.replace("inbox:///", "").split("/").map(decodeURIComponent);
  if (provider === "fynapse") return { pk: `fynapse#event#${id}`, sk: "event" };
  return { pk: `rightfoot#batch#${id}`, sk: rest[0] === "completed" ? "completed" : `alert#${rest[1]}` };
}

async function joinParts(inbox: Table, names: string[]): Promise<Buffer> {
  const parts = await Promise.all(names.map((name) => get(inbox, { pk: `payload#${name}`, sk: "part" })));
  return inflateRawSync(Buffer.concat(parts.map((part) => part.piece)));
}

async function get(inbox: Table, key: Record<string, string>): Promise<Record<string, any>> {
  const { Item } = await inbox.dynamodb.get({ TableName: inbox.name, Key: key, ConsistentRead: true });
  if (!Item) throw new Error("the record has expired");
  return Item;
}
