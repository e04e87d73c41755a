"""What pydantic found, as sentences that name file and key and say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.errors import ConfigError

#: Sentences for pydantic's kinds of error, with the names of its own context.
_SENTENCES = {
    "missing": "is missing",
    "bool_type": "write true or false, not {value}",
    "int_type": "write a whole number, not {value}",
    "float_type": "write a number, not {value}",
    "float_parsing": "write a number, not {value}",
    "string_type": "write text in quotes, not {value}",
    "tuple_type": "write a list in square brackets, not {value}",
    "mapping_type": "write a table of names and values, not {value}",
    "model_type": "must be a table with settings of its own, not {value}",
    "greater_than_equal": "must be {ge} or more, not {value}",
    "less_than_equal": "must be {le} or less, not {value}",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "{value} has characters that don't belong here",
}


def sentences(error: ValidationError, model: type[BaseModel], *, file: str) -> Iterator[ConfigError]:
    """One ConfigError for each thing wrong with a file that was read as `model`."""
    for detail in error.errors(include_url=False):
        yield ConfigError(_reason(detail, model), file=file, key=_dotted(detail["loc"]))


def _reason(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return unknown("setting", str(detail["loc"][-1]), _known(model, detail["loc"][:-1]))
    if kind in ("enum", "literal_error"):
        expected = str(context["expected"]).replace("'", '"')
        near = _near(value, expected.replace(" or ", ", ").replace('"', "").split(", "))
        return f"must be {expected}, not {_shown(value)}{near}"
    if kind == "value_error":
        return str(context["error"])
    sentence = _SENTENCES.get(kind)
    return sentence.format(value=_shown(value), **context) if sentence else detail["msg"].lower()


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """The sentence for a name that means nothing: the nearest one that does, else all of them."""
    return f"{name} is an unknown {what}{_near(name, known) or '; known here: ' + ', '.join(known)}"


def _near(value: Any, known: Sequence[str]) -> str:
    found = get_close_matches(value, known, 1) if isinstance(value, str) else []
    return f"; did you mean {found[0]}?" if found else ""


def _known(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The settings that the table at `path` has."""
    for part in path:
        if isinstance(part, str):
            annotation = _field(model, part).annotation
            candidates = (annotation, *get_args(annotation))
            model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [field.alias or name for name, field in model.model_fields.items()]


def _field(model: type[BaseModel], name: str) -> FieldInfo:
    """A setting by the name that the file has for it."""
    return next(field for own, field in model.model_fields.items() if (field.alias or own) == name)


def _dotted(path: Sequence[str | int]) -> str:
    """`("keys", 0, "public_key")` as `keys[0].public_key`."""
    text = ""
    for part in path:
        if part != "[key]":
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(value: Any) -> str:
    """A value as TOML writes it, when it is a plain one."""
    if isinstance(value, str | bool | int | list):
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if len(text) <= 60 else text[:59] + "…"
    return "a table" if isinstance(value, dict) else str(value)
