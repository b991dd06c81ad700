"""A filter made into a function over what is told of a resource, once for all resources: RFC 7644, section 3.4.2.2.

The library reads the filter, and says of each attribute what it is: how it is spelled, and whether case counts. What is
compared is plain data, so that ten thousand are looked at in the time in which the library would build five hundred.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from scim2_models import Extension, Resource, ScimFilter
from scim2_models.path import (
    AttributeBinding,
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
    coerce_value,
)

from everproof.server.scim.bounds import MAX_TERMS
from everproof.server.scim.errors import BadFilterError

Told: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Told], bool]
Reader: TypeAlias = Callable[[Told], Any]

_ORDERED: Final[Mapping[CompareOperator, Callable[[Any, Any], bool]]] = {
    CompareOperator.gt: lambda one, other: bool(one > other),
    CompareOperator.ge: lambda one, other: bool(one >= other),
    CompareOperator.lt: lambda one, other: bool(one < other),
    CompareOperator.le: lambda one, other: bool(one <= other),
}
_TEXTUAL: Final[Mapping[CompareOperator, Callable[[str, str], bool]]] = {
    CompareOperator.co: lambda one, other: other in one,
    CompareOperator.sw: lambda one, other: one.startswith(other),
    CompareOperator.ew: lambda one, other: one.endswith(other),
}


def terms(node: FilterNode) -> Iterator[Comparison | Present]:
    """Every comparison in a filter."""
    if isinstance(node, LogicalExpr):
        for term in node.terms:
            yield from terms(term)
    elif isinstance(node, Not):
        yield from terms(node.expr)
    elif isinstance(node, ValuePath):
        yield from terms(node.val_filter)
    elif isinstance(node, Comparison | Present):
        yield node


def required(node: FilterNode) -> Iterator[Comparison]:
    """Comparisons for equality without which nothing matches: what an index may be asked."""
    if isinstance(node, Comparison) and node.op == CompareOperator.eq:
        yield node
    elif isinstance(node, LogicalExpr) and node.op == LogicalOperator.and_:
        for term in node.terms:
            yield from required(term)


def names(node: FilterNode) -> set[str]:
    """The attributes that a filter looks at, in lower case."""
    found = {one.attr_path.attr.lower() for one in terms(node)}
    return found | {one.attr_path.attr.lower() for one in _selections(node)}


def compiled(expression: ScimFilter[Any], model: type[Resource[Any]]) -> Test:
    """The function that says whether what is told of a resource matches.

    An attribute that resources of this kind do not have matches nothing (RFC 7644, section 3.4.2.1).

    Raises:
        BadFilterError: it has too many terms.
    """
    if sum(1 for _ in terms(expression.ast)) > MAX_TERMS:
        raise BadFilterError(f"it has more than {MAX_TERMS} comparisons")
    return _Compiler(ScimFilter[model](expression)).visit(expression.ast)  # type: ignore[valid-type]


def reader(binding: AttributeBinding) -> Reader:
    """What reads an attribute out of what is told of a resource: one value, or a list."""
    extension = str(binding.model.__schema__) if issubclass(binding.model, Extension) else None
    field, _, inner = _names(binding)

    def read(told: Told) -> Any:
        host = told.get(extension, {}) if extension is not None else told
        value = host.get(field)
        if not inner:
            return value
        if isinstance(value, list):
            return [one.get(inner) for one in value]
        return value.get(inner) if isinstance(value, Mapping) else None

    return read


def comparable(binding: AttributeBinding, value: Any) -> Any:
    """A value as it is compared: without its case where case does not count, a time as a time."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str) and binding.target_type is datetime:
        return datetime.fromisoformat(value)
    return binding.comparable(value)


class _Compiler(FilterVisitor[Test]):
    """Within the brackets of a selection, names are those of the entries of ``outer``."""

    def __init__(self, bound: ScimFilter[Any], outer: AttrPath | None = None) -> None:
        self._bound = bound
        self._outer = outer

    def visit_logical_expr(self, node: LogicalExpr) -> Test:
        tests = [self.visit(term) for term in node.terms]
        if node.op == LogicalOperator.and_:
            return lambda told: all(test(told) for test in tests)
        return lambda told: any(test(told) for test in tests)

    def visit_not(self, node: Not) -> Test:
        test = self.visit(node.expr)
        return lambda told: not test(told)

    def visit_present(self, node: Present) -> Test:
        binding = self._resolved(node.attr_path, comparing=False)
        if binding is None:
            return _never
        read = self._reader(binding)
        return lambda told: _is_present(read(told))

    def visit_comparison(self, node: Comparison) -> Test:
        binding = self._resolved(node.attr_path, comparing=True)
        if binding is None:
            return _never
        read, operator = self._reader(binding), node.op
        wanted = comparable(binding, coerce_value(binding, node.value, operator))

        def test(told: Told) -> bool:
            value = read(told)
            if not isinstance(value, list):
                return _holds(binding, value, operator, wanted)
            if operator == CompareOperator.ne:  # of many values, none is it
                return all(_holds(binding, one, operator, wanted) for one in value)
            return any(_holds(binding, one, operator, wanted) for one in value)

        return test

    def visit_value_path(self, node: ValuePath) -> Test:
        binding = self._resolved(node.attr_path, comparing=False)
        if binding is None:
            return _never
        read = reader(binding)
        inner = _Compiler(self._bound, node.attr_path).visit(node.val_filter)
        return lambda told: any(inner(one) for one in read(told) or ())

    def _resolved(self, path: AttrPath, *, comparing: bool) -> AttributeBinding | None:
        if self._outer is not None:
            path = AttrPath(attr=self._outer.attr, sub_attr=path.attr, uri=self._outer.uri)
        resolve = self._bound.resolve_comparison if comparing else self._bound.resolve
        return resolve(path, strict=False)

    def _reader(self, binding: AttributeBinding) -> Reader:
        if self._outer is None:
            return reader(binding)
        inner = _names(binding)[2]
        return lambda entry: entry.get(inner)


def _holds(binding: AttributeBinding, value: Any, operator: CompareOperator, wanted: Any) -> bool:
    if value is None or wanted is None:
        same = value is None and wanted is None
        return same if operator == CompareOperator.eq else operator == CompareOperator.ne and not same
    try:
        found = comparable(binding, value)
        if operator in _TEXTUAL:
            return isinstance(found, str) and isinstance(wanted, str) and _TEXTUAL[operator](found, wanted)
        if operator in _ORDERED:
            return _ORDERED[operator](found, wanted)
    except (TypeError, ValueError):
        return operator == CompareOperator.ne
    return bool(found == wanted) == (operator == CompareOperator.eq)


def _is_present(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_present(one) for one in value.values())
    if isinstance(value, list):
        return any(_is_present(one) for one in value)
    return value is not None and value != ""


def _never(_told: Told) -> bool:
    return False


def _selections(node: FilterNode) -> Iterator[ValuePath]:
    if isinstance(node, LogicalExpr):
        for term in node.terms:
            yield from _selections(term)
    elif isinstance(node, Not):
        yield from _selections(node.expr)
    elif isinstance(node, ValuePath):
        yield node


def _names(binding: AttributeBinding) -> tuple[str, str, str]:
    """How an attribute and its part are spelled: the end of its whole name."""
    return binding.urn.rsplit(":", 1)[-1].partition(".")
