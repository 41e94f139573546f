"""The code blocks of the repository's documents."""

import re
import textwrap

import boto3
from stack import REPOSITORY, Stack


def code_blocks(language: str, document: str, heading: str = "") -> list[str]:
    """The blocks in this language, of the whole document or under one heading."""
    text = (REPOSITORY / document).read_text()
    if heading:
        text = re.split(r"^#{1,3} ", text.split(f"\n{heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    matches = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    assert matches, f"{document} has no {language} block {heading}"
    return [textwrap.dedent(block) for _, block in matches]


def python_block_containing(text: str, document: str) -> str:
    (block,) = [block for block in code_blocks("python", document) if text in block]
    return block


def resolve_dataref(stack: Stack, dataref: str) -> bytes:
    """The payload that a `dataref` refers to, read by the code in functions/README.md."""
    namespace: dict = {}
    exec(python_block_containing("def resolve(", "functions/README.md"), namespace)
    table = boto3.resource("dynamodb", **stack.client_options).Table(stack.outputs["InboxTableName"])
    return namespace["resolve"](table, dataref)
