"""Template parameters that remove or add resources, and the switch between them."""

import json
from pathlib import Path

import boto3
import pytest
from bus_listener import BusListener
from emulator import Emulator
from stack import FUNCTIONS, Stack
from waiting import wait_until
from webhooks import completion_body, extract_body, new_id

DOMAIN = "hooks.example.com"
BALANCE = {"pk": "user-1", "sk": "000001767323045000#batch", "balance": None}
BOUNDARY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def stack_without_worker(aws: Emulator, tools: dict[str, Path]) -> Stack:
    """A stack without worker and monitoring."""
    return Stack.create("other", aws, tools, EventWorkerEnabled="false", MonitoringEnabled="false", Tracing="PassThrough")


@pytest.fixture(scope="module")
def original_table_and_bus(stack_without_worker: Stack) -> tuple[str, str]:
    return table_and_bus(stack_without_worker)


@pytest.fixture(scope="module")
def event_before_worker(stack_without_worker: Stack) -> str:
    """An event that is recorded before the worker is deployed."""
    assert stack_without_worker.deliver_fynapse(extract_body(event_id := new_id())).status == 200
    return f"fynapse/event/{event_id}"


@pytest.fixture(scope="module")
def url_before_rightfoot_was_removed(stack_without_worker: Stack) -> str:
    return stack_without_worker.mint_url("before")


@pytest.fixture(scope="module")
def stack_with_worker(
    stack_without_worker: Stack,
    original_table_and_bus: tuple[str, str],
    event_before_worker: str,
    url_before_rightfoot_was_removed: str,
) -> Stack:
    """The same stack with a worker, without Rightfoot, and with the user's own key, topic, network and so on."""
    stack = stack_without_worker
    # As in an account that has never had a key of Rightfoot's API.
    stack.put_secret("RightfootApiKeyArn", "[]")
    enabled = {"EventWorkerEnabled": "true", "MonitoringEnabled": "true", "EventSchemasEnabled": "true"}
    stack.deploy(**enabled, RightfootEnabled="false", Tracing="Active", **own_resources(stack))
    return stack


@pytest.fixture(scope="module")
def stack_after_worker(stack_with_worker: Stack) -> Stack:
    """The same stack without a worker again, with Rightfoot, with a balance and a rule from before, and with a custom domain."""
    stack = stack_with_worker
    balances(stack).put_item(Item=BALANCE)
    BusListener(stack, "yours")
    stack.deploy(EventWorkerEnabled="false", RightfootEnabled="true", **custom_domain(stack))
    return stack


def table_and_bus(stack: Stack) -> tuple[str, str]:
    return stack.outputs["BalancesTableName"], stack.outputs["EventBusName"]


def function_names(stack: Stack) -> list[str]:
    """The functions that the stack has, a part of all of them."""
    names = [function["FunctionName"] for function in stack.client("lambda").list_functions()["Functions"]]
    return [f"{stack.name}-{function}" for function in FUNCTIONS if f"{stack.name}-{function}" in names]


def aws_endpoints(stack: Stack) -> dict[str, str | None]:
    """`AWS_ENDPOINT_URL` in the configuration of each function."""
    names = function_names(stack)
    configurations = [stack.client("lambda").get_function_configuration(FunctionName=name) for name in names]
    return {it["FunctionName"]: it["Environment"]["Variables"].get("AWS_ENDPOINT_URL") for it in configurations}


def balances(stack: Stack):
    return boto3.resource("dynamodb", **stack.client_options).Table(stack.outputs["BalancesTableName"])


def test_without_a_worker_a_consumer_can_read_the_queue(stack_without_worker: Stack, event_before_worker: str):
    sqs, queue = stack_without_worker.client("sqs"), stack_without_worker.outputs["EventsQueueUrl"]
    (message,) = wait_until("the message", lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    event = json.loads(message["Body"])
    assert (event["id"], event["type"]) == (event_before_worker, "com.fynapse.balance.extracted")
    assert event["data"]["data"] == {"amount": 150.25}
    # Makes the message visible again, for the worker of the next test.
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    checks = {it["check"]: it["status"] for it in stack_without_worker.inboxctl("doctor", fails=None)["checks"]}
    assert checks["event bus"] == "skipped"


def test_an_added_worker_processes_earlier_events(
    stack_with_worker: Stack, original_table_and_bus: tuple[str, str], event_before_worker: str
):
    assert table_and_bus(stack_with_worker) == original_table_and_bus
    assert stack_with_worker.wait_until_done(event_before_worker, timeout_secs=60)
    bus = BusListener(stack_with_worker)
    assert stack_with_worker.deliver_fynapse(extract_body(event_id := new_id())).status == 200
    assert bus.wait_for("BalanceExtracted", event_id=f"fynapse/event/{event_id}")


def test_a_schema_registry_is_created_by_parameter(stack_with_worker: Stack, second_stack: Stack):
    assert stack_with_worker.outputs["EventSchemaRegistryName"] == stack_with_worker.name
    assert schema_arns(stack_with_worker) == {
        f"arn:aws:schemas:us-east-1:000000000000:schema/{stack_with_worker.name}/balance-inbox@{detail_type}"
        for detail_type in ("BalanceBatchCompleted", "BalanceExtracted", "BalanceThresholdMet")
    }
    assert "EventSchemaRegistryName" not in second_stack.outputs


def schema_arns(stack: Stack) -> set[str]:
    cloudformation = stack.client("cloudformation")

    def resources(stack_name: str) -> dict[str, dict]:
        listed = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
        return {it["LogicalResourceId"]: it for it in listed}

    nested = resources(resources(stack.name)["EventSchemas"]["PhysicalResourceId"]).values()
    return {it["PhysicalResourceId"] for it in nested if it["ResourceType"] == "AWS::EventSchemas::Schema"}


def test_own_key_and_topic_are_used_by_every_resource_that_they_are_for(stack_with_worker: Stack):
    stack = stack_with_worker
    key, topic = stack.parameters["KmsKeyArn"], stack.parameters["AlarmTopicArn"]
    for queue in ("EventsQueueUrl", "DeadLetterQueueUrl"):
        attributes = stack.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=["All"])
        assert attributes["Attributes"]["KmsMasterKeyId"] == key
    for table in (stack.outputs["InboxTableName"], stack.outputs["BalancesTableName"]):
        encryption = stack.client("dynamodb").describe_table(TableName=table)["Table"]["SSEDescription"]
        assert (encryption["SSEType"], encryption["KMSMasterKeyArn"]) == ("KMS", key)
    for secret in ("FynapseSigningSecretArn", "FynapseApiCredentialsArn", "RightfootUrlKeyArn", "RightfootApiKeyArn"):
        assert stack.client("secretsmanager").describe_secret(SecretId=stack.outputs[secret])["KmsKeyId"] == key
    logs = stack.client("logs").describe_log_groups()["logGroups"]
    assert {group.get("kmsKeyId") for group in logs if f"/{stack.name}" in group["logGroupName"]} == {key}
    alarms = stack.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{stack.name}-")["MetricAlarms"]
    actions = {alarm["AlarmName"].removeprefix(f"{stack.name}-"): alarm["AlarmActions"] for alarm in alarms}
    assert "dead-letters" in actions
    assert all(topics == [topic] for topics in actions.values()), actions
    checks = {it["check"]: it for it in stack.inboxctl("doctor", fails=None)["checks"]}
    assert (checks["alarms"]["status"], checks["alarm topic"]["status"]) == ("ok", "warn")
    assert checks["alarm topic"]["finding"] == "topic alarms has no subscriber: nobody gets the alarms"


def test_a_stack_without_rightfoot_has_nothing_of_it_and_does_not_miss_it(stack_with_worker: Stack):
    stack = stack_with_worker
    assert function_names(stack) == [f"{stack.name}-{it}" for it in ("event-relay", "event-worker", "fynapse-webhook")]
    routes = stack.client("apigatewayv2").get_routes(ApiId=api_id(stack))["Items"]
    assert [route["RouteKey"] for route in routes] == ["POST /webhooks/fynapse"]
    schedules = [it["Target"]["Arn"] for it in stack.client("scheduler").list_schedules()["Schedules"]]
    assert not [arn for arn in schedules if arn.endswith(f":{stack.name}-rightfoot-poller")]
    alarms = stack.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{stack.name}-")["MetricAlarms"]
    names = {alarm["AlarmName"].removeprefix(f"{stack.name}-") for alarm in alarms}
    assert "fynapse-5xx" in names
    assert not {"rightfoot-5xx", "poller-stopped", "key-refused", "found-by-poll", "rightfoot-webhook-errors"} & names
    assert not {"RightfootWebhookUrlPrefix", "RightfootRequestsName"} & set(stack.outputs)

    # The worker has processed an event without complaining of the empty key.
    assert stack.deliver_fynapse(extract_body(event_id := new_id())).status == 200
    assert stack.wait_until_done(f"fynapse/event/{event_id}")
    assert not [line for line in stack.log_lines("event-worker") if "secret_fetch_failed" in line]
    checks = {it["check"]: it for it in stack.inboxctl("doctor", fails=None)["checks"]}
    for check in ("key of Rightfoot's URLs", "key of Rightfoot's API", "poller", "polls", "submissions"):
        assert checks[check]["status"] == "skipped", checks[check]
    assert checks["secret of Fynapse"]["status"] == "ok"
    assert "deployed without Rightfoot" in stack.inboxctl("send", "rightfoot", "--yes", fails=True)["error"]


def api_id(stack: Stack) -> str:
    return stack.outputs["WebhookBaseUrl"].removeprefix("http://").split(".")[0]


def test_only_the_functions_of_a_stack_that_asks_for_it_have_an_aws_endpoint(stack: Stack, stack_with_worker: Stack):
    assert set(aws_endpoints(stack).values()) == {None}
    assert set(aws_endpoints(stack_with_worker).values()) == {stack_with_worker.aws.endpoint}


def test_a_removed_worker_leaves_the_table_of_balances_and_the_bus(
    stack_after_worker: Stack, original_table_and_bus: tuple[str, str]
):
    stack = stack_after_worker
    functions = [function["FunctionName"] for function in stack.client("lambda").list_functions()["Functions"]]
    assert f"{stack.name}-event-worker" not in functions
    assert table_and_bus(stack) == original_table_and_bus
    assert balances(stack).scan()["Items"] == [BALANCE]
    rules = stack.client("events").list_rules(EventBusName=original_table_and_bus[1])["Rules"]
    assert "yours" in [rule["Name"] for rule in rules]


def test_urls_of_rightfoot_outlive_its_absence(stack_after_worker: Stack, url_before_rightfoot_was_removed: str):
    token = url_before_rightfoot_was_removed.rsplit("/", 1)[-1]
    url = stack_after_worker.outputs["RightfootWebhookUrlPrefix"] + token
    delivered = stack_after_worker.deliver_rightfoot(url, completion_body(new_id()))
    assert delivered.status_and_body == (200, '{"status":"received"}')


def test_webhooks_are_received_at_a_custom_domain(stack_after_worker: Stack):
    stack = stack_after_worker
    assert stack.outputs["WebhookBaseUrl"] == f"https://{DOMAIN}"
    assert stack.outputs["FynapseWebhookUrl"] == f"https://{DOMAIN}/webhooks/fynapse"
    assert stack.deliver_fynapse(extract_body(new_id())).status_and_body == (200, '{"status":"received"}')
    url = stack.request(action="webhook_url", subject="nightly")["webhook_url"]
    assert url.startswith(stack.outputs["RightfootWebhookUrlPrefix"]) and url.startswith(f"https://{DOMAIN}/")
    assert stack.deliver_rightfoot(url, completion_body(new_id())).status_and_body == (200, '{"status":"received"}')

    zone = stack.client("route53").list_resource_record_sets(HostedZoneId=stack.parameters["HostedZoneId"])
    (record,) = [record for record in zone["ResourceRecordSets"] if record["Name"] == f"{DOMAIN}."]
    assert (record["Type"], record["AliasTarget"]["DNSName"]) == ("A", stack.outputs["DomainTarget"] + ".")


def own_resources(stack: Stack) -> dict[str, str]:
    """Parameters for a key and a topic; and for a network, a boundary and a reservation, which the emulator ignores."""
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
        "AwsEndpointUrl": stack.aws.endpoint,
    }


def custom_domain(stack: Stack) -> dict[str, str]:
    certificate = stack.client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
    zone = stack.client("route53").create_hosted_zone(Name="example.com", CallerReference=new_id())["HostedZone"]["Id"]
    return {"DomainName": DOMAIN, "CertificateArn": certificate, "HostedZoneId": zone.removeprefix("/hostedzone/")}
