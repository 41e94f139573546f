"""The README followed word for word: from an empty account to the first webhook, a restored backup, and the end."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
from deliveries import fynapse_event, new_id
from emulator import Emulator
from readme import blocks, python_with
from rightfoot import API_KEY
from stack import ARCHITECTURE, REPOSITORY, Stack

# What is done otherwise here, because it was done before, with pinned versions and for this machine's processor.
INSTEAD = {
    "python3 -m venv .venv && . .venv/bin/activate && pip install cargo-lambda aws-sam-cli awscli": "true",
    "cargo lambda build --release --arm64": "true",
    "cargo install --path infra/inboxctl --locked": "true",
    "sam deploy --config-file infra/samconfig.toml --config-env dev":
        f"sam deploy --config-file infra/samconfig.toml --config-env dev --parameter-overrides Architecture={ARCHITECTURE}",
}
# The emulator's names of APIs are known to no resolver.
BY_PATH = r"""
api_id=${WebhookBaseUrl#http://} api_id=${api_id%%.*}
export WEBHOOK_BASE_URL="$AWS_ENDPOINT_URL/_aws/execute-api/$api_id/\$default"
"""


def follow(steps: list[str], aws: Emulator, tools: dict[str, Path]) -> str:
    """Runs them in one shell, which ends at the first that fails; what they print."""
    script = "\n".join(["set -euo pipefail", *steps])
    path = os.pathsep.join([*(str(tool.parent) for tool in tools.values()), os.environ["PATH"]])
    environment = {**aws.environment, "PATH": path, "USER": "ada", "RIGHTFOOT_API_KEY": API_KEY}
    done = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def test_from_an_empty_account_to_the_first_webhook_and_back(aws: Emulator, tools: dict[str, Path]):
    steps = "\n".join(blocks("sh", under="### From an empty account to the first webhook"))
    for here, instead in INSTEAD.items():
        assert steps.count(here) == 1, f"README.md no longer says: {here}"
        steps = steps.replace(here, instead)
    first, _, second = steps.partition("inboxctl send")
    said = follow([first, BY_PATH, f"inboxctl send{second}"], aws, tools)
    assert said.count("as it should be\n") >= 2 and '{"status":"duplicate"}' in said, said
    assert "balance.extracted" in said and " 0 failed" in said, said

    gone = Stack("balance-inbox-dev", aws, tools)
    outputs = gone.outputs
    follow(blocks("sh", under="### Remove it"), aws, tools)
    functions = [function["FunctionName"] for function in gone.client("lambda").list_functions()["Functions"]]
    assert not [name for name in functions if name.startswith(gone.name)]
    for table in ("InboxTableName", "BalancesTableName"):
        assert gone.client("dynamodb").describe_table(TableName=outputs[table])
    for queue in ("EventsQueueUrl", "DeadLetterQueueUrl"):
        assert gone.client("sqs").get_queue_attributes(QueueUrl=outputs[queue], AttributeNames=["All"])
    assert gone.fingerprint("RightfootUrlKeyArn")


def test_what_a_backup_restores_is_what_is_missing_and_nothing_else(stack: Stack):
    ids = [new_id(), new_id()]
    for event_id in ids:
        assert stack.fynapse(fynapse_event(event_id)).status == 200
    events = [f"fynapse/event/{event_id}" for event_id in ids]
    before = [stack.waits_until_done(event) for event in events]
    lost, changed = ({"pk": f"fynapse#event#{event_id}", "sk": "event"} for event_id in ids)
    live = boto3.resource("dynamodb", **stack.boto).Table(stack.outputs["InboxTableName"])
    restored = copy(stack, live)
    # Since the backup, one item is lost, and one has changed.
    live.delete_item(Key=lost)
    assert stack.event(events[0]) is None
    restored.update_item(Key=changed, UpdateExpression="REMOVE done_at")

    script = python_with("restored table")
    subprocess.run([sys.executable, "-c", script, restored.name, live.name], env=stack.aws.environment, check=True, timeout=60)

    assert [stack.event(event) for event in events] == before


def copy(stack: Stack, live):
    """As AWS restores: another table with the same items."""
    restored = boto3.resource("dynamodb", **stack.boto).create_table(
        TableName=f"{live.name}-restored", KeySchema=live.key_schema, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[it for it in live.attribute_definitions if it["AttributeName"] in ("pk", "sk")],
    )
    with restored.batch_writer() as writer:
        for item in live.scan()["Items"]:
            writer.put_item(Item=item)
    return restored
