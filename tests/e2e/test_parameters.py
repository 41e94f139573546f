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


def test_a_worker_goes_on_where_there_was_none_and_one_that_goes_off_leaves_its_table_and_the_bus(other: Stack):
    (before,), kept = other.inboxctl("events", "list", "--state", "sent")["events"], what_is_kept(other)

    other.deploy(EventWorkerEnabled="true", MonitoringEnabled="true", Tracing="Active", **of_your_own(other))

    assert (other.outputs["BalancesTableName"], other.outputs["EventBusName"]) == kept
    assert other.waits_until_done(before["event"], secs=60)
    bus = Listener(other)
    assert other.fynapse(fynapse_event(event_id := new_id())).status == 200
    assert bus.hears("BalanceExtracted", event_id=f"fynapse/event/{event_id}")
    balances = boto3.resource("dynamodb", **other.boto).Table(other.outputs["BalancesTableName"])
    balances.put_item(Item=(row := {"pk": "user-1", "sk": "000001767323045000#batch", "balance": None}))

    other.deploy(EventWorkerEnabled="false", **a_domain_of_your_own(other))

    functions = [function["FunctionName"] for function in other.client("lambda").list_functions()["Functions"]]
    assert f"{other.name}-event-worker" not in functions
    assert what_is_kept(other) == kept
    assert balances.scan()["Items"] == [row]
    assert other.client("events").list_rules(EventBusName=kept[1])["Rules"], "they are not the stack's"


def what_is_kept(stack: Stack) -> tuple[str, ...]:
    """The table and the bus, whether or not there is a worker that writes to them."""

    def name(resource: str) -> str:
        told = stack.client("cloudformation").describe_stack_resource(StackName=stack.name, LogicalResourceId=resource)
        return told["StackResourceDetail"]["PhysicalResourceId"]

    return name("BalancesTable"), name("EventBus")


def test_what_is_your_own_is_on_everything_it_is_for(other: Stack):
    key, topic = other.parameters["KmsKeyArn"], other.parameters["AlarmTopicArn"]
    for queue in ("EventsQueueUrl", "DeadLetterQueueUrl"):
        told = other.client("sqs").get_queue_attributes(QueueUrl=other.outputs[queue], AttributeNames=["All"])
        assert told["Attributes"]["KmsMasterKeyId"] == key
    for table in (other.outputs["InboxTableName"], what_is_kept(other)[0]):
        told = other.client("dynamodb").describe_table(TableName=table)["Table"]["SSEDescription"]
        assert (told["SSEType"], told["KMSMasterKeyArn"]) == ("KMS", key)
    for secret in ("FynapseSigningSecretArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"):
        assert other.client("secretsmanager").describe_secret(SecretId=other.outputs[secret])["KmsKeyId"] == key
    logs = other.client("logs").describe_log_groups()["logGroups"]
    assert {group.get("kmsKeyId") for group in logs if f"/{other.name}" in group["logGroupName"]} == {key}
    alarms = other.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{other.name}-")["MetricAlarms"]
    told = {alarm["AlarmName"].removeprefix(f"{other.name}-"): alarm["AlarmActions"] for alarm in alarms}
    assert told["dead-letters"] == [topic] and all(actions in ([topic], []) for actions in told.values())


def test_webhooks_are_delivered_to_a_domain_of_your_own(other: Stack):
    assert other.outputs["WebhookBaseUrl"] == f"https://{DOMAIN}"
    assert other.outputs["FynapseWebhookUrl"] == f"https://{DOMAIN}/webhooks/fynapse"
    assert other.fynapse(fynapse_event(new_id())).said == (200, '{"status":"received"}')
    url = other.request(action="webhook_url", subject="nightly")["webhook_url"]
    assert url.startswith(other.outputs["RightfootWebhookUrlPrefix"]) and url.startswith(f"https://{DOMAIN}/")
    assert other.rightfoot(url, completion(new_id())).said == (200, '{"status":"received"}')

    zone = other.client("route53").list_resource_record_sets(HostedZoneId=other.parameters["HostedZoneId"])
    (record,) = [record for record in zone["ResourceRecordSets"] if record["Name"] == f"{DOMAIN}."]
    assert (record["Type"], record["AliasTarget"]["DNSName"]) == ("A", other.outputs["DomainTarget"] + ".")


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
