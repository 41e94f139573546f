"""Stands in for the README's payment provider: writes each payment to the file that $PAYMENTS names."""

import json
import os


def pay(idempotency_key: str, to: str) -> None:
    with open(os.environ["PAYMENTS"], "a") as payments:
        print(json.dumps([idempotency_key, to]), file=payments)
