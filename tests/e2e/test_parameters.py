"""What the parameters of the template leave out, and what they add."""

import json
from pathlib import Path

import boto3
import pytest
from bus import Listener
from deliveries import completion, fynapse_event, new_id
from emulator import Emulator
from stack import Stack
from waiting import until

DOMAIN = "hooks.example.com"
BALANCE = {"pk": "user-1", "sk": "000001767323045000#batch", "balance": None}
BOUNDARY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def other(aws: Emulator, tools: dict[str, Path]) -> Stack:
    """A stack without what can be left out."""
    return Stack.deployed("other", aws, tools, EventWorkerEnabled="false", MonitoringEnabled="false", Tracing="PassThrough")


@pytest.fixture(scope="module")
def kept(other: Stack) -> tuple[str, str]:
    """Its table and its bus before there was a worker."""
    return table_and_bus(other)


@pytest.fixture(scope="module")
def unread(other: Stack) -> str:
    """An event that came before there was a worker."""
    assert other.fynapse(fynapse_event(event_id := new_id())).status == 200
    return f"fynapse/event/{event_id}"


@pytest.fixture(scope="module")
def worked(other: Stack, kept: tuple[str, str], unread: str) -> Stack:
    """The same stack with a worker, and with what is your own."""
    other.deploy(EventWorkerEnabled="true", MonitoringEnabled="true", Tracing="Active", **of_your_own(other))
    return other


@pytest.fixture(scope="module")
def unworked(worked: Stack) -> Stack:
    """The same stack without a worker again, with a balance and a rule from when there was one; and with a domain."""
    balances(worked).put_item(Item=BALANCE)
    Listener(worked, "yours")
    worked.deploy(EventWorkerEnabled="false", **a_domain_of_your_own(worked))
    return worked


def table_and_bus(stack: Stack) -> tuple[str, str]:
    return stack.outputs["BalancesTableName"], stack.outputs["EventBusName"]


def balances(stack: Stack):
    return boto3.resource("dynamodb", **stack.boto).Table(stack.outputs["BalancesTableName"])


def test_without_a_worker_the_queue_is_yours_to_read(other: Stack, unread: str):
    sqs, queue = other.client("sqs"), other.outputs["EventsQueueUrl"]
    (message,) = until("the message", lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    event = json.loads(message["Body"])
    assert (event["id"], event["type"]) == (unread, "com.fynapse.balance.extracted")
    assert event["data"]["data"] == {"amount": 150.25}
    # Put back, for who comes with the worker.
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    checks = {it["check"]: it["status"] for it in other.inboxctl("doctor", fails=None)["checks"]}
    assert checks["event bus"] == "skipped"


def test_a_worker_goes_on_where_there_was_none(worked: Stack, kept: tuple[str, str], unread: str):
    assert table_and_bus(worked) == kept
    assert worked.waits_until_done(unread, secs=60)
    bus = Listener(worked)
    assert worked.fynapse(fynapse_event(event_id := new_id())).status == 200
    assert bus.hears("BalanceExtracted", event_id=f"fynapse/event/{event_id}")


def test_what_is_your_own_is_on_everything_it_is_for(worked: Stack):
    key, topic = worked.parameters["KmsKeyArn"], worked.parameters["AlarmTopicArn"]
    for queue in ("EventsQueueUrl", "DeadLetterQueueUrl"):
        told = worked.client("sqs").get_queue_attributes(QueueUrl=worked.outputs[queue], AttributeNames=["All"])
        assert told["Attributes"]["KmsMasterKeyId"] == key
    for table in (worked.outputs["InboxTableName"], worked.outputs["BalancesTableName"]):
        told = worked.client("dynamodb").describe_table(TableName=table)["Table"]["SSEDescription"]
        assert (told["SSEType"], told["KMSMasterKeyArn"]) == ("KMS", key)
    for secret in ("FynapseSigningSecretArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"):
        assert worked.client("secretsmanager").describe_secret(SecretId=worked.outputs[secret])["KmsKeyId"] == key
    logs = worked.client("logs").describe_log_groups()["logGroups"]
    assert {group.get("kmsKeyId") for group in logs if f"/{worked.name}" in group["logGroupName"]} == {key}
    alarms = worked.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{worked.name}-")["MetricAlarms"]
    told = {alarm["AlarmName"].removeprefix(f"{worked.name}-"): alarm["AlarmActions"] for alarm in alarms}
    assert told.pop("found-by-poll") == [] and "dead-letters" in told
    assert all(actions == [topic] for actions in told.values()), told


def test_a_worker_that_goes_leaves_its_table_and_the_bus(unworked: Stack, kept: tuple[str, str]):
    functions = [function["FunctionName"] for function in unworked.client("lambda").list_functions()["Functions"]]
    assert f"{unworked.name}-event-worker" not in functions
    assert table_and_bus(unworked) == kept
    assert balances(unworked).scan()["Items"] == [BALANCE]
    rules = unworked.client("events").list_rules(EventBusName=kept[1])["Rules"]
    assert "yours" in [rule["Name"] for rule in rules]


def test_webhooks_are_delivered_to_a_domain_of_your_own(unworked: Stack):
    assert unworked.outputs["WebhookBaseUrl"] == f"https://{DOMAIN}"
    assert unworked.outputs["FynapseWebhookUrl"] == f"https://{DOMAIN}/webhooks/fynapse"
    assert unworked.fynapse(fynapse_event(new_id())).said == (200, '{"status":"received"}')
    url = unworked.request(action="webhook_url", subject="nightly")["webhook_url"]
    assert url.startswith(unworked.outputs["RightfootWebhookUrlPrefix"]) and url.startswith(f"https://{DOMAIN}/")
    assert unworked.rightfoot(url, completion(new_id())).said == (200, '{"status":"received"}')

    zone = unworked.client("route53").list_resource_record_sets(HostedZoneId=unworked.parameters["HostedZoneId"])
    (record,) = [record for record in zone["ResourceRecordSets"] if record["Name"] == f"{DOMAIN}."]
    assert (record["Type"], record["AliasTarget"]["DNSName"]) == ("A", unworked.outputs["DomainTarget"] + ".")


def of_your_own(stack: Stack) -> dict[str, str]:
    """A key and a topic; and a network, a boundary and a reserve, which the emulator takes and forgets."""
    ec2 = stack.client("ec2")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=network, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)]
    group = ec2.create_security_group(VpcId=network, GroupName="outward", Description="port 443 outward")["GroupId"]
    policy = stack.client("iam").create_policy(PolicyName="boundary", PolicyDocument=json.dumps(BOUNDARY))["Policy"]
    return {
        "KmsKeyArn": stack.client("kms").create_key()["KeyMetadata"]["Arn"],
        "VpcSubnetIds": ",".join(subnets),
        "VpcSecurityGroupIds": group,
        "PermissionsBoundaryArn": policy["Arn"],
        "AlarmTopicArn": stack.client("sns").create_topic(Name="alarms")["TopicArn"],
        "FynapseReservedConcurrency": "5",
        "LogLevel": "debug",
    }


def a_domain_of_your_own(stack: Stack) -> dict[str, str]:
    certificate = stack.client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
    zone = stack.client("route53").create_hosted_zone(Name="example.com", CallerReference=new_id())["HostedZone"]["Id"]
    return {"DomainName": DOMAIN, "CertificateArn": certificate, "HostedZoneId": zone.removeprefix("/hostedzone/")}
