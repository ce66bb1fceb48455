"""Typed settings out of nested dicts: every key known, present and of its type, or an error that names it.

A frozen dataclass declares a section; sections nest, also as values of a dict whose
keys are names of the user's own. So no key can be given and not be used.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def build(cls: type[T], values: dict[str, Any], path: str = "") -> T:
    """An instance of a dataclass from a plain nested dict, such as `ConfigDict.to_dict()`.

    Args:
      cls: fields are annotated with str, int, float, bool, tuple[X, ...], dict[str, X] or dataclasses.
      values: one value per field; an int serves as a float, a list as a tuple.
      path: of this section in the whole, for messages.

    Returns:
      The instance.

    Raises:
      ValueError: an unknown, missing or wrongly typed key; the message names it.
    """
    types = typing.get_type_hints(cls)
    unknown, missing = sorted(set(values) - set(types)), sorted(set(types) - set(values))
    if unknown or missing:
        raise ValueError(
            f"config section {path or 'top level'!r}: unknown keys {unknown}, missing keys {missing}; "
            f"the keys are {sorted(types)}"
        )
    return cls(**{name: _convert(types[name], values[name], f"{path}.{name}".lstrip(".")) for name in types})


def demand(holds: bool, what: str, got: Any, remedy: str) -> None:
    """Refuses a value.

    Raises:
      ValueError: unless it holds; says what is demanded, the value got and what to do.
    """
    if not holds:
        raise ValueError(f"{what}; got {got!r}: {remedy}")


def demand_least(name: str, least: float, value: float, remedy: str = "") -> None:
    """Refuses a number that is too small.

    Args:
      name: of the config key.
      least: the smallest number that will do.
      value: the number given.
      remedy: what to do; "" says to set it to `least` or more.

    Raises:
      ValueError: the value is less, or not a number.
    """
    demand(value >= least, f"{name} must be at least {least}", value, remedy or f"set it to {least} or more")


def choose(choices: dict[str, Any], name: str, key: str) -> Any:
    """The choice of this name.

    Raises:
      ValueError: there is none; the message lists them.
    """
    if name not in choices:
        raise ValueError(f"{key} must be one of {sorted(choices)}; got {name!r}")
    return choices[name]


def _convert(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), _section(value, path), path)
    if typing.get_origin(kind) is dict:
        inner = typing.get_args(kind)[1]
        return {name: _convert(inner, item, f"{path}.{name}") for name, item in _section(value, path).items()}
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"config key {path} is a list of {inner.__name__}; got {value!r}")
        return tuple(_convert(inner, item, path) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"config key {path} is of type {kind.__name__}; got {value!r} ({type(value).__name__})")
    return value


def _section(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"config key {path} is a section of keys; got {value!r}")
    return value
