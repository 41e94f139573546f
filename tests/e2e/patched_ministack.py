"""Starts ministack with corrections where its behaviour differs from AWS in a way that matters to these tests.

It runs in place of ministack's own command. Each docstring says what AWS does.
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


def with_integer_scaling(mapping: Properties) -> Properties:
    """A parameter's number becomes a number in a property. ministack passes it on as text, and its SQS poller crashes on that."""
    scaling = mapping.get("ScalingConfig") or {}
    return {**mapping, "ScalingConfig": {name: int(value) for name, value in scaling.items()}}


def without_punctuation(secret: Properties) -> Properties:
    """ExcludePunctuation is respected. (A generated key that begins with a bracket would be parsed as a list of keys.)"""
    options = secret.get("GenerateSecretString") or {}
    if not options.get("ExcludePunctuation"):
        return secret
    return {**secret, "GenerateSecretString": {**options, "ExcludeCharacters": string.punctuation}}


def reject_empty_policy(policy: Properties) -> Properties:
    """A policy without statements, for example because conditions removed all of them, is rejected."""
    if not policy["PolicyDocument"]["Statement"]:
        raise ValueError("MalformedPolicyDocument: Policy statement must contain at least one statement.")
    return policy


def patch_properties(kind: str, patch: Callable[[Properties], Properties]) -> None:
    handler = HANDLERS[kind]
    create, update = handler["create"], handler["update"]

    def patched_update(physical_id, old, new, *rest, **named):
        return update(physical_id, patch(old), patch(new), *rest, **named)

    handler["create"] = lambda logical_id, properties, stack: create(logical_id, patch(properties), stack)
    handler["update"] = patched_update


def join_lists_in_conditions() -> None:
    """A condition can compare a joined list parameter with "". ministack treats every joined list as not empty."""
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

    for module in (changesets, engine, handlers, stacks):
        module._evaluate_conditions = evaluated


def refer_to_secrets_by_arn() -> None:
    """`Ref` of a secret is its ARN, which the roles' policies use. In ministack it is the secret's name."""
    handler = HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def name(arn: str) -> str:
        return arn.rsplit(":", 1)[-1].rsplit("-", 1)[0]

    def with_arn_as_id(resource: tuple[str, dict]) -> tuple[str, dict]:
        _, attributes = resource
        return attributes["Arn"], attributes

    handler["create"] = lambda *arguments: with_arn_as_id(create(*arguments))
    handler["update"] = lambda arn, *rest, **named: with_arn_as_id(update(name(arn), *rest, **named))
    handler["delete"] = lambda arn, properties: delete(name(arn), properties)


def reject_function_names_in_use() -> None:
    """A stack cannot create a function whose name is in use. In ministack it replaces that function."""
    handler = HANDLERS["AWS::Lambda::Function"]
    create = handler["create"]

    def create_new(logical_id: str, properties: Properties, stack: str) -> tuple:
        if (name := properties["FunctionName"]) in lambda_svc._functions:
            raise ValueError(f"Function already exist: {name}")
        return create(logical_id, properties, stack)

    handler["create"] = create_new


def authorize_sqs_batches_as_single_calls() -> None:
    """SQS authorizes a batch call by the action of the single call: `SendMessageBatch` needs `sqs:SendMessage`."""
    extract = iam_actions.extract_iam_action

    def extract_without_batch(service: str, *request) -> str | None:
        action = extract(service, *request)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    iam_actions.extract_iam_action = extract_without_batch


def reject_deletion_of_buses_and_rules_in_use() -> None:
    """A bus that has rules cannot be deleted, nor a rule that has targets, neither directly nor with its stack."""
    delete_bus, delete_rule = eventbridge._delete_event_bus, eventbridge._delete_rule

    def delete_unused_bus(request: dict) -> tuple:
        if any(rule["EventBusName"] == request["Name"] for rule in eventbridge._rules.values()):
            return error_response_json("ValidationException", "EventBus can't be deleted since it has rules.")
        return delete_bus(request)

    def delete_unused_rule(request: dict) -> tuple:
        if eventbridge._targets.get(eventbridge._rule_key(request["Name"], request.get("EventBusName", "default"))):
            return error_response_json("ValidationException", "Rule can't be deleted since it has targets.")
        return delete_rule(request)

    def delete_bus_of_stack(name: str, _: Properties) -> None:
        status, _, body = delete_unused_bus({"Name": name})
        if status != 200:
            raise ValueError(body.decode())

    eventbridge._delete_event_bus, eventbridge._delete_rule = delete_unused_bus, delete_unused_rule
    HANDLERS["AWS::Events::EventBus"]["delete"] = delete_bus_of_stack


def enforce_bus_policies() -> None:
    """CloudFormation sets a bus's policy. It can deny entries of PutEvents by source and by principal, also to the account's owner.
    The principal of a role's session is the role.
    """
    put_events, policies = eventbridge._put_events, eventbridge._event_bus_policies

    def set_statement(_, properties: Properties, *__) -> tuple[str, dict]:
        bus, statement = properties["EventBusName"], {"Sid": properties["StatementId"], **properties["Statement"]}
        others = [other for other in policies.get(bus, {}).get("Statement", []) if other["Sid"] != statement["Sid"]]
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

    def put_allowed(request: dict, *rest, **named) -> tuple:
        entries = request["Entries"]
        denied = [is_denied(entry) for entry in entries]
        allowed = [entry for entry, is_entry_denied in zip(entries, denied) if not is_entry_denied]
        status, headers, body = put_events({**request, "Entries": allowed}, *rest, **named)
        if status != 200 or not any(denied):
            return status, headers, body
        response = json.loads(body)
        results = iter(response["Entries"])
        error = {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
        response["Entries"] = [error if is_entry_denied else next(results) for is_entry_denied in denied]
        response["FailedEntryCount"] += sum(denied)
        return status, headers, json.dumps(response).encode()

    eventbridge._put_events = put_allowed
    HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": set_statement,
        "update": lambda physical_id, _, new, *rest, **named: set_statement(physical_id, new),
        "delete": delete_statement,
    }


def accept_schema_registries() -> None:
    """CloudFormation creates schema registries and schemas. A schema's content must be an OpenAPI 3.0 document of at most 100,000
    bytes. (ministack has no schema registry, so nothing can be read from it.)
    """

    def create_registry(_, properties: Properties, *__) -> tuple[str, dict]:
        name = properties["RegistryName"]
        arn = f"arn:aws:schemas:{get_region()}:{get_account_id()}:registry/{name}"
        return arn, {"RegistryArn": arn, "RegistryName": name}

    def create_schema(_, properties: Properties, *__) -> tuple[str, dict]:
        registry, name, content = (properties[it] for it in ("RegistryName", "SchemaName", "Content"))
        is_valid = json.loads(content).get("openapi", "").startswith("3.0.") and len(content.encode()) <= 100_000
        if properties["Type"] != "OpenApi3" or not is_valid:
            raise ValueError(f"BadRequestException: the content of {name} is not valid")
        arn = f"arn:aws:schemas:{get_region()}:{get_account_id()}:schema/{registry}/{name}"
        return arn, {"SchemaArn": arn, "SchemaName": name}

    for kind, create in (("Registry", create_registry), ("Schema", create_schema)):
        HANDLERS[f"AWS::EventSchemas::{kind}"] = {
            "create": create,
            "update": lambda physical_id, _, new, *rest, create=create, **named: create(physical_id, new),
            "delete": lambda *_: None,
        }


if __name__ == "__main__":
    patch_properties("AWS::Lambda::EventSourceMapping", with_integer_scaling)
    patch_properties("AWS::SecretsManager::Secret", without_punctuation)
    patch_properties("AWS::IAM::ManagedPolicy", reject_empty_policy)
    join_lists_in_conditions()
    refer_to_secrets_by_arn()
    reject_function_names_in_use()
    authorize_sqs_batches_as_single_calls()
    reject_deletion_of_buses_and_rules_in_use()
    enforce_bus_policies()
    accept_schema_registries()
    main()
