"""Reads the payload that a `dataref` refers to from the table `inbox`."""

import hashlib, zlib
from urllib.parse import unquote

def resolve(table, dataref):                       # table = boto3.resource("dynamodb").Table(...)
    kind, _, thing, *rest = [unquote(part) for part in dataref.removeprefix("inbox:///").split("/")]
    key = ({"pk": f"fynapse#event#{thing}", "sk": "event"} if kind == "fynapse" else
           {"pk": f"rightfoot#batch#{thing}", "sk": "completed" if rest == ["completed"] else f"alert#{rest[1]}"})
    get = lambda key: table.get_item(Key=key, ConsistentRead=True)["Item"]
    record = get(key)
    parts = (get({"pk": f"payload#{name}", "sk": "part"})["piece"].value for name in record.get("parts", []))
    payload = zlib.decompress(b"".join(parts), wbits=-15) if "parts" in record else record["payload"].value
    assert hashlib.sha256(payload).hexdigest() == record["payload_hash"]
    return payload
