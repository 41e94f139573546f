// A payment provider for the tests. It appends each payment to the file $PAYMENTS.
import { appendFile } from "node:fs/promises";

export async function pay({ idempotencyKey, to }: { idempotencyKey: string; to: string }): Promise<void> {
  await appendFile(process.env.PAYMENTS!, `${JSON.stringify([idempotencyKey, to])}\n`);
}
