"""ministack, with what it does otherwise than AWS put right where this system meets it.

Runs in ministack's own process, in place of its command. Each docstring says what AWS does.
"""

import json
import string
from collections.abc import Callable

from ministack.app import main
from ministack.core import iam_actions
from ministack.core.iam_evaluator import EvalContext, caller_arn, evaluate_resource_policy
from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import eventbridge, iam, lambda_svc
from ministack.services.cloudformation import changesets, engine, handlers, stacks
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS as HANDLERS

Properties = dict


def whole_numbers(mapping: Properties) -> Properties:
    """A parameter's number reaches a property as a number; ministack hands it on as text, and its poller dies of it."""
    scaling = mapping.get("ScalingConfig") or {}
    return {**mapping, "ScalingConfig": {name: int(value) for name, value in scaling.items()}}


def without_punctuation(secret: Properties) -> Properties:
    """ExcludePunctuation is heeded. A generated key that began with a bracket would read as a list of keys."""
    wanted = secret.get("GenerateSecretString") or {}
    if not wanted.get("ExcludePunctuation"):
        return secret
    return {**secret, "GenerateSecretString": {**wanted, "ExcludeCharacters": string.punctuation}}


def with_statements(policy: Properties) -> Properties:
    """A policy whose every statement fell to a condition is refused."""
    if not policy["PolicyDocument"]["Statement"]:
        raise ValueError("MalformedPolicyDocument: Policy statement must contain at least one statement.")
    return policy


def mend_properties(kind: str, mend: Callable[[Properties], Properties]) -> None:
    handler = HANDLERS[kind]
    create, update = handler["create"], handler["update"]

    def mended_update(physical_id, old, new, *rest, **named):
        return update(physical_id, mend(old), mend(new), *rest, **named)

    handler["create"] = lambda logical_id, properties, stack: create(logical_id, mend(properties), stack)
    handler["update"] = mended_update


def join_lists_in_conditions() -> None:
    """A condition may ask whether a parameter's list, joined, is empty; ministack takes every joined list for not empty."""
    evaluate = engine._evaluate_conditions

    def joined(node, parameters: dict):
        if isinstance(node, list):
            return [joined(item, parameters) for item in node]
        if not isinstance(node, dict):
            return node
        if "Fn::Join" in node:
            delimiter, listed = node["Fn::Join"]
            return delimiter.join(parameters[listed["Ref"]]["Value"].split(","))
        return {key: joined(value, parameters) for key, value in node.items()}

    def evaluated(template: dict, parameters: dict) -> dict:
        conditions = joined(template.get("Conditions", {}), parameters)
        return evaluate({**template, "Conditions": conditions}, parameters)

    for user in (changesets, engine, handlers, stacks):
        user._evaluate_conditions = evaluated


def refer_to_secrets_by_arn() -> None:
    """`Ref` of a secret is its ARN, which the policies of the roles name; ministack's is its name."""
    handler = HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def name(arn: str) -> str:
        return arn.rsplit(":", 1)[-1].rsplit("-", 1)[0]

    def by_arn(made: tuple[str, dict]) -> tuple[str, dict]:
        _, attributes = made
        return attributes["Arn"], attributes

    handler["create"] = lambda *arguments: by_arn(create(*arguments))
    handler["update"] = lambda arn, *rest, **named: by_arn(update(name(arn), *rest, **named))
    handler["delete"] = lambda arn, properties: delete(name(arn), properties)


def refuse_functions_whose_name_is_taken() -> None:
    """A stack does not take over a function that it has not made; ministack's does."""
    handler = HANDLERS["AWS::Lambda::Function"]
    create = handler["create"]

    def created(logical_id: str, properties: Properties, stack: str) -> tuple:
        if (name := properties["FunctionName"]) in lambda_svc._functions:
            raise ValueError(f"Function already exist: {name}")
        return create(logical_id, properties, stack)

    handler["create"] = created


def allow_batches_as_their_entries() -> None:
    """Who may send, delete or hide a message may do it by the batch: SQS knows no other action for that."""
    extract = iam_actions.extract_iam_action

    def extracted(service: str, *request) -> str | None:
        action = extract(service, *request)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    iam_actions.extract_iam_action = extracted


def keep_buses_with_rules_and_rules_with_targets() -> None:
    """A bus that has rules is not deleted, nor a rule that has targets: neither by itself nor with its stack. Their owner takes
    away the targets, the rules and the bus, in this order.
    """
    delete_bus, delete_rule = eventbridge._delete_event_bus, eventbridge._delete_rule

    def deleted_bus(request: dict) -> tuple:
        if any(rule["EventBusName"] == request["Name"] for rule in eventbridge._rules.values()):
            return error_response_json("ValidationException", "EventBus can't be deleted since it has rules.")
        return delete_bus(request)

    def deleted_rule(request: dict) -> tuple:
        if eventbridge._targets.get(eventbridge._rule_key(request["Name"], request.get("EventBusName", "default"))):
            return error_response_json("ValidationException", "Rule can't be deleted since it has targets.")
        return delete_rule(request)

    def deleted_with_its_stack(name: str, _: Properties) -> None:
        status, _, refusal = deleted_bus({"Name": name})
        if status != 200:
            raise ValueError(refusal.decode())

    eventbridge._delete_event_bus, eventbridge._delete_rule = deleted_bus, deleted_rule
    HANDLERS["AWS::Events::EventBus"]["delete"] = deleted_with_its_stack


def give_buses_policies() -> None:
    """A bus has a policy, also by CloudFormation, and it denies an entry of PutEvents by its source and by whose call it is: the
    account's owner is bound, too, and of a role's session the role counts.
    """
    put_events, policies = eventbridge._put_events, eventbridge._event_bus_policies

    def set_statement(_, properties: Properties, *__) -> tuple[str, dict]:
        bus, statement = properties["EventBusName"], {"Sid": properties["StatementId"], **properties["Statement"]}
        others = [one for one in policies.get(bus, {}).get("Statement", []) if one["Sid"] != statement["Sid"]]
        policies[bus] = {"Version": "2012-10-17", "Statement": [*others, statement]}
        return f"{bus}|{statement['Sid']}", {}

    def delete_statement(_, properties: Properties) -> None:
        eventbridge._remove_permission({"EventBusName": properties["EventBusName"], "StatementId": properties["StatementId"]})

    def principal() -> str:
        caller = caller_arn()
        role = iam._roles.get(caller.split("/")[1]) if ":assumed-role/" in caller else None
        return role["Arn"] if role else caller

    def is_denied(entry: dict) -> bool:
        bus = entry.get("EventBusName", "default").rsplit("/", 1)[-1]
        account, region = get_account_id(), get_region()
        arn = f"arn:aws:events:{region}:{account}:event-bus/{bus}"
        request = EvalContext(principal(), "", account, "events:PutEvents", arn, region)
        request.service_context = {"events:source": entry["Source"]}
        return evaluate_resource_policy(policies.get(bus), request).decision == "Deny"

    def put(request: dict, *rest, **named) -> tuple:
        entries = request["Entries"]
        denied = [is_denied(entry) for entry in entries]
        taken = [entry for entry, no in zip(entries, denied) if not no]
        status, headers, answer = put_events({**request, "Entries": taken}, *rest, **named)
        if status != 200 or not any(denied):
            return status, headers, answer
        told = json.loads(answer)
        results = iter(told["Entries"])
        refusal = {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
        told["Entries"] = [refusal if no else next(results) for no in denied]
        told["FailedEntryCount"] += sum(denied)
        return status, headers, json.dumps(told).encode()

    eventbridge._put_events = put
    HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": set_statement,
        "update": lambda physical_id, _, new, *rest, **named: set_statement(physical_id, new),
        "delete": delete_statement,
    }


if __name__ == "__main__":
    mend_properties("AWS::Lambda::EventSourceMapping", whole_numbers)
    mend_properties("AWS::SecretsManager::Secret", without_punctuation)
    mend_properties("AWS::IAM::ManagedPolicy", with_statements)
    join_lists_in_conditions()
    refer_to_secrets_by_arn()
    refuse_functions_whose_name_is_taken()
    allow_batches_as_their_entries()
    keep_buses_with_rules_and_rules_with_targets()
    give_buses_policies()
    main()
