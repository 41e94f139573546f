"""Who may put events on the bus, and of which source."""

import json

import boto3

from stack import Stack


def somebody_who_may_put_events(stack: Stack):
    """A role of the account that may put events on every bus, as its client."""
    by = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}
    document = {name: json.dumps({"Version": "2012-10-17", "Statement": [it]}) for name, it in (("by", by), ("may", may))}
    iam = stack.client("iam")
    role = iam.create_role(RoleName="reporter", AssumeRolePolicyDocument=document["by"])["Role"]["Arn"]
    iam.put_role_policy(RoleName="reporter", PolicyName="put", PolicyDocument=document["may"])
    session = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="e2e")["Credentials"]
    own = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    return boto3.client("events", **{**stack.boto, **own})


def test_nobody_but_the_worker_puts_events_of_its_source_on_the_bus(stack: Stack):
    """That the worker may is what the other stories hear."""

    def entry(source: str) -> dict:
        return {"EventBusName": stack.outputs["EventBusName"], "Source": source, "DetailType": "BalanceThresholdMet", "Detail": "{}"}

    for events in (somebody_who_may_put_events(stack), stack.client("events")):
        answer = events.put_events(Entries=[entry("balance-inbox"), entry("reports")])
        assert [it.get("ErrorCode") for it in answer["Entries"]] == ["NotAuthorizedForSourceException", None], answer
