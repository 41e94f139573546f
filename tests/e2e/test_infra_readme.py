"""infra/README.md, with its commands run as they are written: from an empty account to the first webhook, rotated keys, a revoked URL,
a restored backup and the removal of the stack.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from document_examples import code_blocks, python_block_containing
from emulator import Emulator
from fynapse_simulator import CLIENT_ID, CLIENT_SECRET, FynapseSimulator
from rightfoot_simulator import API_KEY
from stack import ARCHITECTURE, FUNCTIONS, REPOSITORY, Stack
from waiting import wait_until
from webhooks import completion_body, extract_body, new_id, url_token

DOCUMENT = "infra/README.md"
# `run` has done these steps already, with pinned versions and for this machine's processor.
REPLACED_COMMANDS = {
    "python3 -m venv .venv && . .venv/bin/activate": "true",
    "pip install --no-deps --require-hashes -r infra/requirements.txt": "true",
    "cargo lambda build --release --arm64": "true",
    "cargo install --path infra/inboxctl --locked": "true",
    "sam deploy --config-file infra/samconfig.toml --config-env dev": 'sam deploy --config-file "$SAMCONFIG" --config-env dev',
}
# The API is called by its path, because no resolver knows the emulator's host names of APIs.
SET_WEBHOOK_BASE_URL = r"""
api_id=${WebhookBaseUrl#http://} api_id=${api_id%%.*}
export WEBHOOK_BASE_URL="$AWS_ENDPOINT_URL/_aws/execute-api/$api_id/\$default"
"""
# For SQS, the AWS CLI ignores AWS_ENDPOINT_URL and calls a legacy host name. The option overrides that.
DEFINE_AWS = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
MAX_KEYS = 4
YOUR_INSTANCE = "https://your-instance.example"
# zsh is the default shell of macOS, and is stricter than bash.
SHELL = ["zsh", "-f", "-c"] if shutil.which("zsh") else ["bash", "-c"]


class Reader:
    """Runs the commands of the documents as a reader would, on the stack `balance-inbox-dev`."""

    def __init__(self, aws: Emulator, tools: dict[str, Path]):
        self.stack = Stack("balance-inbox-dev", aws, tools)
        path = os.pathsep.join([*(str(tool.parent) for tool in tools.values()), os.environ["PATH"]])
        settings = {"USER": "ada", "RIGHTFOOT_API_KEY": API_KEY, "SAMCONFIG": str(samconfig(aws))}
        self.environment = {**aws.environment, "PATH": path, **settings}

    def run(self, blocks: list[str], **variables: str) -> str:
        """Runs the blocks in one shell, which ends at the first command that fails. Returns their output."""
        done = self._run(blocks, variables)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def run_failing(self, blocks: list[str], **variables: str) -> None:
        """Runs the blocks and asserts that a command fails."""
        done = self._run(blocks, variables)
        assert done.returncode != 0, done.stdout[-3000:]

    def run_section(self, heading: str, document: str = DOCUMENT, **variables: str) -> str:
        """Runs the blocks of a section with the variables that "First deployment" sets."""
        return self.run(code_blocks("sh", document, heading), **self.variables, **variables)

    @property
    def variables(self) -> dict[str, str]:
        return {**self.stack.outputs, "INBOXCTL_STACK": self.stack.name, "INBOXCTL_BY": "ada"}

    def _run(self, blocks: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess:
        command = [*SHELL, "\n".join(["set -euo pipefail", DEFINE_AWS, *blocks])]
        environment = {**self.environment, **variables}
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def first_deployment(aws: Emulator, tools: dict[str, Path]) -> tuple[Reader, str]:
    """A reader who has followed "Build from source" and "First deployment", and the output of their commands."""
    sections = ["## Build from source", "## First deployment"]
    commands = "\n".join(block for section in sections for block in code_blocks("sh", DOCUMENT, section))
    for command, replacement in REPLACED_COMMANDS.items():
        assert commands.count(command) == 1, f"{DOCUMENT} no longer has the command: {command}"
        commands = commands.replace(command, replacement)
    before_send, _, after_send = commands.partition("inboxctl send")
    reader = Reader(aws, tools)
    return reader, reader.run([before_send, SET_WEBHOOK_BASE_URL, f"inboxctl send{after_send}"])


def samconfig(aws: Emulator) -> Path:
    """A copy of infra/samconfig.toml for this machine's processor."""
    original, overrides = (REPOSITORY / "infra/samconfig.toml").read_text(), 'parameter_overrides = "'
    # Nothing is deployed by the settings for functions in Docker.
    deployed, docker = re.split(r"(?m)^(?=\[docker\.)", original, maxsplit=1)
    assert deployed.count(overrides) == 2
    copy = aws.scratch / "samconfig.toml"
    copy.write_text(deployed.replace(overrides, f"{overrides}Architecture={ARCHITECTURE} ") + docker)
    return copy


@pytest.fixture(scope="module")
def reader(first_deployment: tuple[Reader, str], fynapse: FynapseSimulator) -> Reader:
    """The same reader, who has then followed "Fynapse": every function is deployed."""
    reader, _ = first_deployment
    set_up, check_deliveries = (block.replace(YOUR_INSTANCE, fynapse.url) for block in code_blocks("sh", DOCUMENT, "### Fynapse"))
    set_up = set_up.replace("CLIENT_ID=…  CLIENT_SECRET=…", f"CLIENT_ID={CLIENT_ID}  CLIENT_SECRET={CLIENT_SECRET}")
    # The reader would be asked, and confirm.
    output = reader.run([f"{set_up.rstrip()} --yes"], **reader.variables)
    (subscription_id,) = re.findall(r"^subscription: (.+)$", output, re.MULTILINE)
    reader.run([check_deliveries], **reader.variables, SUBSCRIPTION_ID=subscription_id)
    return reader


def test_first_deployment_ends_with_a_published_test_delivery(first_deployment: tuple[Reader, str]):
    _, output = first_deployment
    assert output.count("as it should be\n") >= 2 and '{"status":"duplicate"}' in output, output
    assert "balance.extracted" in output and " 0 failed" in output, output


def test_a_reader_of_fynapse_sees_what_it_gave_up(reader: Reader, fynapse: FynapseSimulator):
    event_id = fynapse.give_up_a_delivery()
    reader.stack.invoke("fynapse-auditor")
    assert event_id[:8] in reader.run(["inboxctl fynapse missed list"], **reader.variables)
    # Fynapse's own signing secret is stored, in front of the random one.
    secret = reader.stack.client("secretsmanager").get_secret_value(SecretId=reader.stack.outputs["FynapseSigningSecretArn"])
    first, _ = json.loads(secret["SecretString"])
    assert first.startswith("simulated-signing-secret-value-")


def function_code_check(reader: Reader) -> tuple[str, str]:
    """The status and the finding of `doctor` about the functions' code."""
    # Another check fails, because of the missed delivery.
    (check,) = [it for it in reader.stack.inboxctl("doctor", fails=True)["checks"] if it["check"] == "function code"]
    return check["status"], check["finding"]


def test_doctor_finds_code_that_was_updated_alone_and_the_stacks_code_can_be_restored(reader: Reader):
    all_deployed = ("ok", f"{len(FUNCTIONS)} of {len(FUNCTIONS)} run what the stack has deployed")
    one_differs = ("warn", f"{reader.stack.name}-fynapse-webhook: not the code that the stack has deployed")
    assert function_code_check(reader) == all_deployed

    reader.run_section("## Update code only")
    assert function_code_check(reader) == one_differs
    # For CloudFormation, deploying the stack's version again is no change.
    reader.run(['sam deploy --config-file "$SAMCONFIG" --config-env dev'])
    assert function_code_check(reader) == one_differs

    reader.run_section("## Upgrade and roll back")
    assert function_code_check(reader) == all_deployed


def test_dev_and_prod_have_their_own_settings_and_tags(reader: Reader):
    # For prod, it asks for confirmation.
    reader.run(['sam deploy --config-file "$SAMCONFIG" --config-env prod <<< y'])

    for environment, name, functions, settings in [
        ("dev", reader.stack.name, set(FUNCTIONS), {"LogLevel": "debug", "LogRetentionDays": "7"}),
        ("prod", "balance-inbox", set(FUNCTIONS) - {"fynapse-auditor"}, {"LogLevel": "info", "LogRetentionDays": "90"}),
    ]:
        (stack,) = reader.stack.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        parameters = {it["ParameterKey"]: it["ParameterValue"] for it in stack["Parameters"]}
        assert settings.items() <= parameters.items()
        tags = {it["Key"]: it["Value"] for it in stack["Tags"]}
        assert tags == {"application": "balance-inbox", "environment": environment}
        prefix = f"/aws/lambda/{name}-"
        groups = reader.stack.client("logs").describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
        retention = {it["logGroupName"].removeprefix(prefix): it["retentionInDays"] for it in groups}
        assert {name: retention[name] for name in retention.keys() & set(FUNCTIONS)} == dict.fromkeys(
            functions, int(settings["LogRetentionDays"])
        )


def test_a_new_url_key_signs_and_the_old_one_is_still_accepted(reader: Reader):
    stack, (rotate, _) = reader.stack, code_blocks("sh", DOCUMENT, "## Rotate a secret")
    old = stack.mint_url("rotated")

    reader.run([rotate], **reader.variables)

    new = stack.mint_url("rotated")
    assert new != old and new.rsplit("/", 1)[-1] == url_token("rotated", url_keys(stack)[0])
    assert stack.deliver_rightfoot(old, completion_body(new_id())).status == 200

    def is_accepted() -> bool:
        return stack.deliver_rightfoot(new, completion_body(new_id())).status == 200

    # A running function fetches the keys again after a mismatch, at most once in 30 seconds.
    wait_until("a URL of the new key to be accepted", is_accepted, 60)


def url_keys(stack: Stack) -> list[str]:
    """The URL keys, newest first. A single key may be stored without brackets."""
    value = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["RightfootUrlKeyArn"])["SecretString"]
    return json.loads(value) if value.startswith("[") else [value]


def test_only_urls_of_a_revoked_subject_are_rejected(reader: Reader):
    stack = reader.stack
    urls = {subject: stack.mint_url(subject) for subject in ("nightly", "payroll", "weekly")}

    def statuses() -> dict[str, int]:
        return {subject: stack.deliver_rightfoot(url, completion_body(new_id())).status for subject, url in urls.items()}

    assert statuses() == {"nightly": 200, "payroll": 200, "weekly": 200}
    reader.run_section("## Revoke a URL")
    assert statuses() == {"nightly": 403, "payroll": 403, "weekly": 200}


def test_the_commands_refuse_a_fifth_url_key(reader: Reader):
    stack, (add, _) = reader.stack, code_blocks("sh", DOCUMENT, "## Rotate a secret")
    while len(before := url_keys(stack)) < MAX_KEYS:
        reader.run([add], **reader.variables)
        assert url_keys(stack)[1:] == before

    reader.run_failing([add], **reader.variables)
    assert url_keys(stack) == before


def test_the_commands_remove_the_oldest_url_key_but_never_the_last_one(reader: Reader):
    stack, (_, remove_oldest) = reader.stack, code_blocks("sh", DOCUMENT, "## Rotate a secret")
    while len(before := url_keys(stack)) > 1:
        reader.run([remove_oldest], **reader.variables)
        assert url_keys(stack) == before[:-1]

    reader.run_failing([remove_oldest], **reader.variables)
    assert url_keys(stack) == before


def test_a_failed_first_deployment_can_be_cleaned_up(aws: Emulator, tools: dict[str, Path]):
    stack = Stack("fails", aws, tools)

    def queues_and_secrets() -> list[set]:
        secrets = {secret["ARN"] for secret in stack.client("secretsmanager").list_secrets()["SecretList"]}
        return [set(stack.client("sqs").list_queues().get("QueueUrls", [])), secrets]

    def tables() -> set:
        return set(stack.client("dynamodb").list_tables()["TableNames"])

    before, tables_before = queues_and_secrets(), tables()
    # A function of another owner has the name that a function of the stack needs.
    name, code = f"{stack.name}-rightfoot-webhook", io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", "")
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust_policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = stack.client("iam").create_role(RoleName="others", AssumeRolePolicyDocument=trust_policy)["Role"]["Arn"]
    function = {"Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Code": {"ZipFile": code.getvalue()}}
    stack.client("lambda").create_function(FunctionName=name, **function)
    with pytest.raises(AssertionError, match="ROLLBACK_COMPLETE"):
        stack.deploy()
    assert queues_and_secrets() == before
    assert len(tables() - tables_before) == 2

    (clean_up,) = code_blocks("sh", DOCUMENT, "## If the first deployment fails")
    output = Reader(aws, tools).run([clean_up.replace("balance-inbox-dev", stack.name)])

    assert f"RightfootWebhook\tFunction already exist: {name}\n" in output, output
    assert tables() == tables_before


def test_a_stack_is_removed_with_the_rules_on_its_bus_and_keeps_its_data_until_that_is_deleted(reader: Reader):
    stack, variables = reader.stack, reader.variables
    reader.run_section("## Consume the bus", "README.md", **rule_variables(stack))
    remove_stack, *delete_data = code_blocks("sh", DOCUMENT, "## Remove the stack")

    reader.run([remove_stack], **variables)

    functions = [function["FunctionName"] for function in stack.client("lambda").list_functions()["Functions"]]
    assert not [name for name in functions if name.startswith(stack.name)]
    dynamodb, sqs = stack.client("dynamodb"), stack.client("sqs")
    tables = [variables[name] for name in ("InboxTableName", "BalancesTableName")]
    queues = [variables[name] for name in ("EventsQueueUrl", "DeadLetterQueueUrl")]
    for table in tables:
        assert dynamodb.describe_table(TableName=table)
    for queue in queues:
        assert sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert stack.secret_hash("RightfootUrlKeyArn")

    reader.run(delete_data, **variables)

    assert not set(tables) & set(dynamodb.list_tables()["TableNames"])
    assert not set(queues) & set(sqs.list_queues().get("QueueUrls", []))
    for name in ("FynapseSigningSecretArn", "FynapseApiCredentialsArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"):
        assert stack.client("secretsmanager").describe_secret(SecretId=variables[name])["DeletedDate"]


def rule_variables(stack: Stack) -> dict[str, str]:
    """The variables of the README's rule. The function and the queue need not exist."""
    account = stack.client("sts").get_caller_identity()["Account"]
    function, queue = f"arn:aws:lambda:us-east-1:{account}:function:payouts", f"arn:aws:sqs:us-east-1:{account}:payouts"
    return {"FUNCTION_ARN": function, "DLQ_ARN": queue}


def test_a_restore_adds_missing_items_and_changes_no_others(stack: Stack, aws: Emulator, tools: dict[str, Path]):
    ids = [new_id(), new_id()]
    for event_id in ids:
        assert stack.deliver_fynapse(extract_body(event_id)).status == 200
    events = [f"fynapse/event/{event_id}" for event_id in ids]
    before = [stack.wait_until_done(event) for event in events]
    lost, changed = ({"pk": f"fynapse#event#{event_id}", "sk": "event"} for event_id in ids)
    Reader(aws, tools).run(code_blocks("sh", DOCUMENT, "## Back up and restore"), **stack.outputs)
    tables = boto3.resource("dynamodb", **stack.client_options)
    live, restored = tables.Table(stack.outputs["InboxTableName"]), tables.Table("restored")
    # Since the backup, one item was lost and one has changed.
    live.delete_item(Key=lost)
    assert stack.event(events[0]) is None
    restored.update_item(Key=changed, UpdateExpression="REMOVE done_at")

    script = python_block_containing("restored table", DOCUMENT)
    subprocess.run([sys.executable, "-c", script, restored.name, live.name], env=stack.aws.environment, check=True, timeout=60)

    assert [stack.event(event) for event in events] == before
