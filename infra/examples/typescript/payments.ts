// The payment API. It must pay once for each idempotency key, however often it is called. Replace it by yours.
import { required } from "./environment.js";

const PAYMENTS_URL = required("PAYMENTS_URL");

export async function pay(idempotencyKey: string, to: string): Promise<void> {
  const response = await fetch(PAYMENTS_URL, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": idempotencyKey },
    body: JSON.stringify({ to }),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`the payment API answers ${response.status}`);
}
