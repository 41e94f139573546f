"""The policy of the bus."""

import json

import boto3

from stack import Stack


def client_with_put_events_permission(stack: Stack):
    """A client under a new role that may put events on every bus."""
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    permission = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}
    trust_policy, policy = (json.dumps({"Version": "2012-10-17", "Statement": [it]}) for it in (trust, permission))
    iam = stack.client("iam")
    role = iam.create_role(RoleName="reporter", AssumeRolePolicyDocument=trust_policy)["Role"]["Arn"]
    iam.put_role_policy(RoleName="reporter", PolicyName="put", PolicyDocument=policy)
    credentials = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="e2e")["Credentials"]
    options = {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }
    return boto3.client("events", **{**stack.client_options, **options})


def test_only_the_worker_can_publish_under_the_source_balance_inbox(stack: Stack):
    """(Other tests receive events that the worker publishes.)"""

    def entry(source: str) -> dict:
        return {"EventBusName": stack.outputs["EventBusName"], "Source": source, "DetailType": "BalanceThresholdMet", "Detail": "{}"}

    for events in (client_with_put_events_permission(stack), stack.client("events")):
        response = events.put_events(Entries=[entry("balance-inbox"), entry("reports")])
        assert [it.get("ErrorCode") for it in response["Entries"]] == ["NotAuthorizedForSourceException", None], response
