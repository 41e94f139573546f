// Stands in for the README's payment provider: writes each payment to the file that $PAYMENTS names.
import { appendFile } from "node:fs/promises";

export async function pay({ idempotencyKey, to }: { idempotencyKey: string; to: string }): Promise<void> {
  await appendFile(process.env.PAYMENTS!, `${JSON.stringify([idempotencyKey, to])}\n`);
}
