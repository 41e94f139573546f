"""A payment provider for the tests. It appends each payment to the file $PAYMENTS."""

import json
import os


def pay(idempotency_key: str, to: str) -> None:
    with open(os.environ["PAYMENTS"], "a") as payments:
        print(json.dumps([idempotency_key, to]), file=payments)
