"""infra/README.md followed word for word: from an empty account to the first webhook, another key, a revoked URL, and the end; and a
restored backup.
"""

import base64
import hashlib
import hmac
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from deliveries import completion, fynapse_event, new_id
from emulator import Emulator
from documents import blocks, python_with
from rightfoot import API_KEY
from stack import ARCHITECTURE, FUNCTIONS, REPOSITORY, Stack
from waiting import until

# What is done otherwise here, because it was done before, with pinned versions and for this machine's processor.
INSTEAD = {
    "python3 -m venv .venv && . .venv/bin/activate": "true",
    "pip install --no-deps --require-hashes -r infra/requirements.txt": "true",
    "cargo lambda build --release --arm64": "true",
    "cargo install --path infra/inboxctl --locked": "true",
    "sam deploy --config-file infra/samconfig.toml --config-env dev": 'sam deploy --config-file "$SAMCONFIG" --config-env dev',
}
# The emulator's names of APIs are known to no resolver.
BY_PATH = r"""
api_id=${WebhookBaseUrl#http://} api_id=${api_id%%.*}
export WEBHOOK_BASE_URL="$AWS_ENDPOINT_URL/_aws/execute-api/$api_id/\$default"
"""
# For SQS, the AWS CLI heeds no AWS_ENDPOINT_URL: without an option it asks the host that it has of old.
HERE = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
DEPLOYING = "infra/README.md"
KEYS_AT_MOST = 4
# zsh is macOS's, and stricter.
SHELL = ["zsh", "-f", "-c"] if shutil.which("zsh") else ["bash", "-c"]


class Reader:
    """Who does what the documents say."""

    def __init__(self, aws: Emulator, tools: dict[str, Path]):
        self.stack = Stack("balance-inbox-dev", aws, tools)
        path = os.pathsep.join([*(str(tool.parent) for tool in tools.values()), os.environ["PATH"]])
        own = {"USER": "ada", "RIGHTFOOT_API_KEY": API_KEY, "SAMCONFIG": str(samconfig(aws))}
        self.environment = {**aws.environment, "PATH": path, **own}

    def follows(self, steps: list[str], **variables: str) -> str:
        """Runs them in one shell, which ends at the first that fails; what they print."""
        done = self._run(steps, variables)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def is_refused(self, steps: list[str], **variables: str) -> None:
        """The last of them fails."""
        done = self._run(steps, variables)
        assert done.returncode != 0, done.stdout[-3000:]

    def follows_later(self, under: str, document: str = DEPLOYING, **variables: str) -> str:
        """With the variables that the first chapter has made."""
        return self.follows(blocks("sh", document, under=under), **self.variables, **variables)

    @property
    def variables(self) -> dict[str, str]:
        return {**self.stack.outputs, "INBOXCTL_STACK": self.stack.name, "INBOXCTL_BY": "ada"}

    def _run(self, steps: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess:
        command = [*SHELL, "\n".join(["set -euo pipefail", HERE, *steps])]
        environment = {**self.environment, **variables}
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def arrived(aws: Emulator, tools: dict[str, Path]) -> tuple[Reader, str]:
    """A reader at the end of the first chapter, and what it has printed."""
    steps = "\n".join(blocks("sh", DEPLOYING, under="## First deployment"))
    for here, instead in INSTEAD.items():
        assert steps.count(here) == 1, f"{DEPLOYING} no longer says: {here}"
        steps = steps.replace(here, instead)
    first, _, second = steps.partition("inboxctl send")
    reader = Reader(aws, tools)
    return reader, reader.follows([first, BY_PATH, f"inboxctl send{second}"])


def samconfig(aws: Emulator) -> Path:
    """infra/samconfig.toml, for this machine's processor."""
    written, overrides = (REPOSITORY / "infra/samconfig.toml").read_text(), 'parameter_overrides = "'
    assert written.count(overrides) == 2
    here = aws.scratch / "samconfig.toml"
    here.write_text(written.replace(overrides, f"{overrides}Architecture={ARCHITECTURE} "))
    return here


@pytest.fixture(scope="module")
def reader(arrived: tuple[Reader, str]) -> Reader:
    return arrived[0]


def test_from_an_empty_account_to_the_first_webhook(arrived: tuple[Reader, str]):
    _, said = arrived
    assert said.count("as it should be\n") >= 2 and '{"status":"duplicate"}' in said, said
    assert "balance.extracted" in said and " 0 failed" in said, said


def code_of_the_functions(reader: Reader) -> tuple[str, str]:
    """What `doctor` finds of it: its verdict and its words."""
    (check,) = [it for it in reader.stack.inboxctl("doctor")["checks"] if it["check"] == "function code"]
    return check["status"], check["finding"]


def test_code_that_came_alone_is_found_by_doctor_and_the_stacks_own_comes_back(reader: Reader):
    everywhere = ("ok", f"{len(FUNCTIONS)} of {len(FUNCTIONS)} run what the stack has deployed")
    alone = ("warn", f"{reader.stack.name}-fynapse-webhook: not the code that the stack has deployed")
    assert code_of_the_functions(reader) == everywhere

    reader.follows_later("## Update code only")
    assert code_of_the_functions(reader) == alone
    # To CloudFormation, the version that the stack has is no change.
    reader.follows(['sam deploy --config-file "$SAMCONFIG" --config-env dev'])
    assert code_of_the_functions(reader) == alone

    reader.follows_later("## Upgrade and roll back")
    assert code_of_the_functions(reader) == everywhere


def test_prod_is_deployed_beside_dev_each_with_its_own_settings_and_tags(reader: Reader):
    # It asks before it changes anything.
    reader.follows(['sam deploy --config-file "$SAMCONFIG" --config-env prod <<< y'])

    for environment, name, settings in [
        ("dev", reader.stack.name, {"LogLevel": "debug", "LogRetentionDays": "7"}),
        ("prod", "balance-inbox", {"LogLevel": "info", "LogRetentionDays": "90"}),
    ]:
        (told,) = reader.stack.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        parameters = {it["ParameterKey"]: it["ParameterValue"] for it in told["Parameters"]}
        assert settings.items() <= parameters.items()
        tags = {it["Key"]: it["Value"] for it in told["Tags"]}
        assert tags == {"application": "balance-inbox", "environment": environment}
        of_functions = f"/aws/lambda/{name}-"
        logs = reader.stack.client("logs").describe_log_groups(logGroupNamePrefix=of_functions)["logGroups"]
        logs = [it for it in logs if it["logGroupName"].removeprefix(of_functions) in FUNCTIONS]
        assert [it["retentionInDays"] for it in logs] == [int(settings["LogRetentionDays"])] * len(FUNCTIONS)


def test_a_new_url_key_signs_and_the_old_one_still_counts(reader: Reader):
    stack, (rotate, _) = reader.stack, blocks("sh", DEPLOYING, under="## Rotate a secret")
    old = stack.mint("rotated")

    reader.follows([rotate], **reader.variables)

    new = stack.mint("rotated")
    assert new != old and new.rsplit(".", 1)[-1] == mac("rotated", keys(stack)[0])
    assert stack.rightfoot(old, completion(new_id())).status == 200
    # If its function was at work before: not within half a minute after it has read the keys.
    until("a URL of the new key to be accepted", lambda: stack.rightfoot(new, completion(new_id())).status == 200, 60)


def keys(stack: Stack) -> list[str]:
    """The newest first. One alone may stand without brackets."""
    value = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["RightfootUrlKeyArn"])["SecretString"]
    return json.loads(value) if value.startswith("[") else [value]


def mac(subject: str, key: str) -> str:
    """As infra/local/README.md makes it by hand."""
    made = hmac.new(key.encode(), f"rightfoot-webhook-url/v1:{subject}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def test_urls_of_a_revoked_subject_are_refused_and_no_others(reader: Reader):
    stack = reader.stack
    urls = {subject: stack.mint(subject) for subject in ("nightly", "payroll", "weekly")}

    def answers() -> dict[str, int]:
        return {subject: stack.rightfoot(url, completion(new_id())).status for subject, url in urls.items()}

    assert answers() == {"nightly": 200, "payroll": 200, "weekly": 200}
    reader.follows_later("## Revoke a URL")
    assert answers() == {"nightly": 403, "payroll": 403, "weekly": 200}


def test_one_key_too_many_is_refused_and_changes_nothing(reader: Reader):
    stack, (rotate, _) = reader.stack, blocks("sh", DEPLOYING, under="## Rotate a secret")
    while len(before := keys(stack)) < KEYS_AT_MOST:
        reader.follows([rotate], **reader.variables)
        assert keys(stack)[1:] == before

    reader.is_refused([rotate], **reader.variables)
    assert keys(stack) == before


def test_the_oldest_key_is_taken_away_and_never_the_last_one(reader: Reader):
    stack, (_, take_away) = reader.stack, blocks("sh", DEPLOYING, under="## Rotate a secret")
    while len(before := keys(stack)) > 1:
        reader.follows([take_away], **reader.variables)
        assert keys(stack) == before[:-1]

    reader.is_refused([take_away], **reader.variables)
    assert keys(stack) == before


def test_a_first_deployment_that_fails_is_cleaned_up(aws: Emulator, tools: dict[str, Path]):
    stack = Stack("fails", aws, tools)

    def kept() -> list[set]:
        secrets = {secret["ARN"] for secret in stack.client("secretsmanager").list_secrets()["SecretList"]}
        return [set(stack.client("sqs").list_queues().get("QueueUrls", [])), secrets]

    def tables() -> set:
        return set(stack.client("dynamodb").list_tables()["TableNames"])

    before, tables_before = kept(), tables()
    # Somebody else's function has the name that one of the stack's has to have.
    name, code = f"{stack.name}-rightfoot-webhook", io.BytesIO()
    with zipfile.ZipFile(code, "w") as zipped:
        zipped.writestr("bootstrap", "")
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    role = stack.client("iam").create_role(RoleName="others", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    others = {"Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Code": {"ZipFile": code.getvalue()}}
    stack.client("lambda").create_function(FunctionName=name, **others)
    with pytest.raises(AssertionError, match="ROLLBACK_COMPLETE"):
        stack.deploy()
    assert kept() == before, "queues and secrets"
    assert len(tables() - tables_before) == 2

    (clean_up,) = blocks("sh", DEPLOYING, under="## If the first deployment fails")
    said = Reader(aws, tools).follows([clean_up.replace("balance-inbox-dev", stack.name)])

    assert f"RightfootWebhook\tFunction already exist: {name}\n" in said, said
    assert tables() == tables_before


def test_the_stack_is_removed_with_rules_of_ones_own_on_its_bus_and_what_it_holds_only_if_one_means_it(reader: Reader):
    stack, variables = reader.stack, reader.variables
    reader.follows_later("## Consume the bus", "README.md", **of_a_rule(stack))
    remove, *and_what_it_holds = blocks("sh", DEPLOYING, under="## Remove the stack")

    reader.follows([remove], **variables)

    functions = [function["FunctionName"] for function in stack.client("lambda").list_functions()["Functions"]]
    assert not [name for name in functions if name.startswith(stack.name)]
    dynamodb, sqs = stack.client("dynamodb"), stack.client("sqs")
    tables = [variables[name] for name in ("InboxTableName", "BalancesTableName")]
    queues = [variables[name] for name in ("EventsQueueUrl", "DeadLetterQueueUrl")]
    for table in tables:
        assert dynamodb.describe_table(TableName=table)
    for queue in queues:
        assert sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert stack.fingerprint("RightfootUrlKeyArn")

    reader.follows(and_what_it_holds, **variables)

    assert not set(tables) & set(dynamodb.list_tables()["TableNames"])
    assert not set(queues) & set(sqs.list_queues().get("QueueUrls", []))
    for name in ("FynapseSigningSecretArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"):
        assert stack.client("secretsmanager").describe_secret(SecretId=variables[name])["DeletedDate"]


def of_a_rule(stack: Stack) -> dict[str, str]:
    """What a rule leads to: ARNs are enough."""
    account = stack.client("sts").get_caller_identity()["Account"]
    function, queue = f"arn:aws:lambda:us-east-1:{account}:function:payouts", f"arn:aws:sqs:us-east-1:{account}:payouts"
    return {"FUNCTION_ARN": function, "DLQ_ARN": queue}


def test_what_a_backup_restores_is_what_is_missing_and_nothing_else(
    stack: Stack, aws: Emulator, tools: dict[str, Path]
):
    ids = [new_id(), new_id()]
    for event_id in ids:
        assert stack.fynapse(fynapse_event(event_id)).status == 200
    events = [f"fynapse/event/{event_id}" for event_id in ids]
    before = [stack.waits_until_done(event) for event in events]
    lost, changed = ({"pk": f"fynapse#event#{event_id}", "sk": "event"} for event_id in ids)
    Reader(aws, tools).follows(blocks("sh", DEPLOYING, under="## Back up and restore"), **stack.outputs)
    tables = boto3.resource("dynamodb", **stack.boto)
    live, restored = tables.Table(stack.outputs["InboxTableName"]), tables.Table("restored")
    # Since the backup, one item is lost, and one has changed.
    live.delete_item(Key=lost)
    assert stack.event(events[0]) is None
    restored.update_item(Key=changed, UpdateExpression="REMOVE done_at")

    script = python_with("restored table", DEPLOYING)
    subprocess.run([sys.executable, "-c", script, restored.name, live.name], env=stack.aws.environment, check=True, timeout=60)

    assert [stack.event(event) for event in events] == before
