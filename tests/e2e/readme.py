"""The README's own examples, as they are written there."""

import re

import boto3
from stack import REPOSITORY, Stack


def python_that_defines(name: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if f"def {name}(" in block]
    return block


def resolve(stack: Stack, dataref: str) -> bytes:
    """The bytes that a `dataref` leads to."""
    example: dict = {}
    exec(python_that_defines("resolve"), example)
    table = boto3.resource("dynamodb", **stack.boto).Table(stack.outputs["InboxTableName"])
    return example["resolve"](table, dataref)
