"""Writes the typed client of the API from its OpenAPI document, as the source of `services.console_client`."""

from __future__ import annotations

import keyword
from typing import Any

HEAD = '''"""A typed client of the console's API. Written by `services.web.client_source`; a test says when it is old.

client = ConsoleClient("http://127.0.0.1:8800", token)
for bot in client.bots()["items"]:
    print(bot["bot"], bot["status"] and bot["status"]["equity"])
"""

# ruff: noqa: E501
from __future__ import annotations

import json
from typing import Any, Literal, NotRequired, TypedDict, cast

from services.console_client.transport import ConsoleRefused as ConsoleRefused
from services.console_client.transport import Transport, quoted
'''
CLASS = '''
class ConsoleClient:
    """Every route of the API as a method. Raises ConsoleRefused, or Unreachable where nobody answers."""

    def __init__(self, address: str, token: str = "", seconds: float = 30.0) -> None:
        """`address` such as http://127.0.0.1:8800; `token` from the console's page Settings."""
        self.transport = Transport(address, token, seconds)
'''
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "object": "Any"}


def client_source(document: dict[str, Any]) -> str:
    """Write the client; the formatter of the project lays it out."""
    schemas = document["components"]["schemas"]
    parts = [HEAD, *(_schema(name, one) for name, one in sorted(schemas.items())), CLASS]
    for path, operations in document["paths"].items():
        parts += [_method(path, verb, one) for verb, one in operations.items()]
    return "\n".join(parts)


def _named(reference: str) -> str:
    return f"{reference.rpartition('/')[2]}Json"


def _type(one: dict[str, Any]) -> str:
    """Annotation of a schema."""
    if "$ref" in one:
        return _named(one["$ref"])
    if "anyOf" in one:
        return " | ".join(dict.fromkeys(_type(part) for part in one["anyOf"]))
    if "enum" in one or "const" in one:
        words = one.get("enum", [one.get("const")])
        return f"Literal[{', '.join(repr(word) for word in words)}]"
    if one.get("type") == "array":
        return f"list[{_type(one.get('items', {}))}]"
    if one.get("type") == "object":
        inner = one.get("additionalProperties")
        return f"dict[str, {_type(inner) if isinstance(inner, dict) else 'Any'}]"
    return PLAIN.get(one.get("type", ""), "Any")


def _schema(name: str, one: dict[str, Any]) -> str:
    """Source of a schema: a TypedDict, or the words that there are."""
    title, words = f"{name}Json", _doc(one.get("description", "As the API has it."))
    if "properties" not in one:
        return f"{title} = {_type(one)}\n"
    needed = set(one.get("required", ()))
    rows = []
    for field, schema in one["properties"].items():
        hint = _type(schema)
        rows.append(f"    {field}: {hint if field in needed else f'NotRequired[{hint}]'}")
    return "\n".join([f"class {title}(TypedDict):", f'    """{words}"""', "", *rows, ""])


def _doc(text: str) -> str:
    return " ".join(text.split())


def _argument(name: str) -> str:
    name = name.replace("-", "_").lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def _order(path: str, part: dict[str, Any]) -> tuple[int, bool]:
    """Parts of the path first, as they stand in it, then what has to be given."""
    place = path.find("{" + part["name"] + "}") if part["in"] == "path" else len(path)
    return place, not part.get("required", False)


def _method(path: str, verb: str, one: dict[str, Any]) -> str:
    """Source of a method that asks one operation."""
    given = sorted(one.get("parameters", ()), key=lambda part: _order(path, part))
    arguments, query, headers = ["self"], [], []
    place = f'f"{path}"' if "{" in path else f'"{path}"'
    for part in given:
        name, needed = _argument(part["name"]), part.get("required", False)
        arguments += ["*"] if part["in"] != "path" and "*" not in arguments else []
        hint = _type(part["schema"]) if needed else f"{_type(part['schema']).removesuffix(' | None')} | None = None"
        arguments.append(f"{name}: {hint}")
        if part["in"] == "path":
            text = name if hint == "str" else f"str({name})"
            place = place.replace("{" + part["name"] + "}", "{quoted(" + text + ")}")
        elif part["in"] == "query":
            query.append(f'"{part["name"]}": {name}')
        else:
            headers.append(f'"{part["name"]}": {name}')
    body = ""
    if "requestBody" in one:
        arguments.insert(arguments.index("*") if "*" in arguments else len(arguments), f"body: {_body(one)}")
        body = ", body"
    gives, made = _answer(one)
    asked = f'self.transport.ask("{verb.upper()}", {place}, {{{", ".join(query)}}}, {{{", ".join(headers)}}}{body})'
    lines = [
        f"    def {one['operationId']}({', '.join(arguments)}) -> {gives}:",
        f'        """{_doc(one["description"])}"""',
        f"        {made.format(asked=asked)}",
    ]
    return "\n".join([*lines, ""])


def _body(one: dict[str, Any]) -> str:
    content = one["requestBody"]["content"]
    return _type(content["application/json"]["schema"]) if "application/json" in content else "bytes"


def _answer(one: dict[str, Any]) -> tuple[str, str]:
    """What a method gives, and the line that makes it."""
    told = next(one["responses"][code] for code in ("200", "201", "204") if code in one["responses"])
    content = told.get("content", {})
    if not content:
        return ("None", "{asked}") if "204" in one["responses"] else ("bytes", "return {asked}[0]")
    if "application/json" not in content:
        return "bytes", "return {asked}[0]"
    gives = _type(content["application/json"]["schema"])
    return gives, f'return cast("{gives}", json.loads({{asked}}[0]))'
