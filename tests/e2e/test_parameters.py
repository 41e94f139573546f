"""What the parameters of the template leave out, and what they add."""

import json
from pathlib import Path

import pytest
from bus import Listener
from deliveries import fynapse_event, new_id
from emulator import Emulator
from stack import Stack
from waiting import until

BOUNDARY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def other(aws: Emulator, tools: dict[str, Path]) -> Stack:
    """A stack without what can be left out."""
    return Stack.deployed("other", aws, tools, EventWorkerEnabled="false", MonitoringEnabled="false", Tracing="PassThrough")


def test_without_a_worker_the_queue_is_yours_to_read(other: Stack):
    assert not {"EventBusName", "BalancesTableName"} & set(other.outputs)
    assert other.fynapse(fynapse_event(event_id := new_id())).status == 200
    sqs, queue = other.client("sqs"), other.outputs["EventsQueueUrl"]
    (message,) = until("the message", lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    event = json.loads(message["Body"])
    assert (event["id"], event["type"]) == (f"fynapse/event/{event_id}", "com.fynapse.balance.extracted")
    assert event["data"]["data"] == {"amount": 150.25}
    # Put back, for who comes with the worker.
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    checks = {it["check"]: it["verdict"] for it in other.inboxctl("doctor")["checks"]}
    assert checks["event bus"] == "skipped"


def test_a_worker_goes_on_where_there_was_none_under_a_key_of_your_own(other: Stack):
    (before,) = other.inboxctl("events", "list", "--state", "sent")["events"]
    other.deploy(EventWorkerEnabled="true", MonitoringEnabled="true", Tracing="Active", **of_your_own(other))
    assert other.waits_until_done(before["event"], secs=60)
    bus = Listener(other)
    assert other.fynapse(fynapse_event(event_id := new_id())).status == 200
    assert bus.hears("BalanceExtracted", event_id=f"fynapse/event/{event_id}")

    secret = other.client("secretsmanager").describe_secret(SecretId=other.outputs["FynapseSigningSecretArn"])
    assert secret["KmsKeyId"] == other.parameters["KmsKeyArn"]


def of_your_own(stack: Stack) -> dict[str, str]:
    """A key and a topic; and a network and a boundary, which the emulator takes and forgets."""
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
