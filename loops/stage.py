"""What the engine asks of a stage: a frozen dataclass whose call names its inputs and the kind of what it makes.

The signature is the wiring: ``def __call__(self, *, scores: Scores, out: Pairs)`` says that this stage reads Scores,
calls them ``scores``, and makes Pairs. Nothing is registered and nothing is inherited.

A stage may also say what its step will cost, from the sizes of its inputs: ``def foresee(self, *, scores: Size)``. What
it returns has ``size`` (of its artifact: ``rows``, ``bytes``), ``tokens``, ``at_most``, ``work``, ``memory`` and
``least``, and so has what it is given; see loops/estimate.py.
"""

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from loops.errors import NothingToDo, RecipeError, nearest
from loops.trust import trusted


class Stage(Protocol):
    """One pure computation. Its fields are what it computes; ``compare=False`` fields are where and how fast."""

    def __call__(self, *, out: Any, **inputs: Any) -> Mapping[str, float]:
        """Read the inputs, write ``out``, return what was measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """What a stage reads, by name, which of it may be left out, and what it makes."""

    inputs: dict[str, type]
    optional: frozenset[str]
    output: type


def signature(stage: Stage) -> Signature:
    """Read off the annotations of the stage's ``__call__``.

    Raises:
        RecipeError: the class is no stage, because it does not say what it makes.
    """
    return _signature(type(stage))


@cache
def _signature(kind: type[Stage]) -> Signature:
    hints = typing.get_type_hints(kind.__call__)
    if "out" not in hints:
        raise RecipeError(f"{kind.__name__} is no stage: its call has no annotated `out`")
    parameters = inspect.signature(kind.__call__).parameters
    asked = {name: parameter for name, parameter in parameters.items() if name not in ("self", "out")}
    return Signature(
        inputs={name: _kind(hints[name]) for name in asked},
        optional=frozenset(name for name, parameter in asked.items() if parameter.default is not parameter.empty),
        output=hints["out"],
    )


def _kind(hint: Any) -> type:
    """The kind of an input that may be left out: ``Model | None`` is a Model."""
    kinds: list[type] = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return kinds[0] if kinds else hint


def build(config: Mapping[str, Any], where: str) -> Any:
    """Make what ``{_target_: ..., field: ...}`` describes: a stage, or the executor or tracker of a run.

    Args:
        config: plain containers, interpolations resolved.
        where: the step's name, for messages.

    Raises:
        RecipeError: unknown target, unknown or missing field, wrong type, or a value that the stage refuses.
        NothingToDo: the stage waits for something that is not there yet, and says so by ``WAITS`` in what it raises.
    """
    kind = _locate(config.get("_target_"), where)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    given = {name: value for name, value in config.items() if name != "_target_"}
    for name in given:
        if name not in fields:
            raise RecipeError(f"{where}: {kind.__name__} has no field {name!r}{nearest(name, fields)}")
    for name, field in fields.items():
        if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{where}: {kind.__name__} needs the field {name!r}")
    values = {name: _value(value, kind, name, f"{where}.{name}") for name, value in given.items()}
    try:
        return kind(**values)
    except (ValueError, OSError) as refused:
        if getattr(refused, "WAITS", False):
            raise NothingToDo(f"{where}: {refused}") from refused
        raise RecipeError(f"{where}: {refused}") from refused


def build_as(target: str, section: Mapping[str, Any], where: str) -> Any:
    """Make what a section describes whose class is not the section's to choose.

    Raises:
        RecipeError: as ``build``, or the section chooses one.
    """
    if "_target_" in section:
        raise RecipeError(f"{where} has no _target_: it is always {target}")
    return build({"_target_": target, **section}, where)


def _value(value: Any, kind: type, name: str, where: str) -> Any:
    hint = _hints(kind)[name]
    if isinstance(value, Mapping) and "_target_" in value:
        built = build(value, where)
        checkable = isinstance(hint, type) and getattr(hint, "_is_runtime_protocol", True)
        if checkable and not isinstance(built, hint):
            raise RecipeError(f"{where}: expected a {hint.__name__}, but {value['_target_']} is none")
        return built
    if value is None and type(None) in typing.get_args(hint):
        return None
    from pydantic import ValidationError

    if getattr(hint, "_is_protocol", False):
        raise RecipeError(f"{where}: expected a configured {hint.__name__}, got {value!r}")
    try:
        return _adapter(kind, name).validate_python(value)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise RecipeError(f"{where}: {first['msg']}, got {first['input']!r}") from wrong


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@cache
def _adapter(kind: type, name: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(_hints(kind)[name], config=ConfigDict(allow_inf_nan=False))


def _locate(target: object, where: str) -> Any:
    if not isinstance(target, str):
        raise RecipeError(f"{where}: a stage needs a _target_, the dotted name of its class")
    if not any(target.startswith(f"{package}.") for package in trusted()):
        raise RecipeError(
            f"{where}: {target!r} is outside what may be run ({', '.join(trusted())}); "
            "name its package in SELFLOOP_TRUST if you trust it"
        )
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        raise RecipeError(f"{where}: there is no module {missing.name!r} (wanted for {target!r})") from missing
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        stages = [n for n, v in vars(module).items() if isinstance(v, type) and dataclasses.is_dataclass(v)]
        raise RecipeError(f"{where}: {module_name} has no stage {name!r}{nearest(name, stages)}")
    return kind
