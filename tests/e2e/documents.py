"""The documents' own examples, as they are written there."""

import re
import textwrap

import boto3
from stack import REPOSITORY, Stack


def blocks(language: str, document: str, under: str = "") -> list[str]:
    """The blocks of code in this language, of a whole document or under one heading."""
    text = (REPOSITORY / document).read_text()
    if under:
        text = re.split(r"^#{1,3} ", text.split(f"\n{under}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    assert found, f"{document} has no {language} {under}"
    return [textwrap.dedent(block) for _, block in found]


def python_with(words: str, document: str) -> str:
    (block,) = [block for block in blocks("python", document) if words in block]
    return block


def resolve(stack: Stack, dataref: str) -> bytes:
    """The bytes that a `dataref` leads to."""
    example: dict = {}
    exec(python_with("def resolve(", "functions/README.md"), example)
    table = boto3.resource("dynamodb", **stack.boto).Table(stack.outputs["InboxTableName"])
    return example["resolve"](table, dataref)
