"""Roles: templates, and in ``policies/NAME.links.toml`` the groups and spaces that they are linked to.

[[link]]
id = "administrators-of-main"
template = "role/administrator"
principal = 'Group::"administrators"'
resource = 'Space::"main"'
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from everproof.kernel.errors import InputError
from everproof.kernel.toml import parse_toml
from everproof.policy.errors import BundleError
from everproof.policy.references import read_ref
from everproof.policy.source import Text

if TYPE_CHECKING:
    from everproof.policy.bundle import Policy


class _Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    template: str
    principal: str | None = None
    resource: str | None = None
    title: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    link: tuple[_Link, ...] = ()


def links_of(text: Text, templates: Mapping[str, "Policy"], errors: list[BundleError]) -> list["Policy"]:
    """The policies that the links of one file make; what is wrong with it goes to ``errors``."""
    try:
        file = parse_toml(text.text, _File, place=text.path)
    except InputError as error:
        errors.append(BundleError(error.message, place=error.place))
        return []
    found = []
    for link in file.link:
        at = max(text.text.find(f'"{link.id}"'), 0)
        template = templates.get(link.template)
        if template is None:
            known = ", ".join(sorted(templates)) or "none"
            errors.append(text.error(f"there is no template {link.template!r}; templates are: {known}", at))
            continue
        try:
            est = _filled(template.est, link)
        except ValueError as error:
            errors.append(text.error(str(error), at))
            continue
        found.append(
            msgspec.structs.replace(
                template,
                id=link.id,
                title=link.title or template.title,
                place=f"{text.path}:{text.line(at)}",
                est=est,
                template=template.id,
            )
        )
    return found


def _filled(est: dict[str, Any], link: _Link) -> dict[str, Any]:
    made = dict(est)
    for part in ("principal", "resource"):
        scope = made[part]
        given = getattr(link, part)
        if "slot" not in scope and "slot" not in scope.get("in", {}):
            if given is not None:
                raise ValueError(f"the template has no ?{part}")
            continue
        ref = read_ref(given) if given is not None else None
        if ref is None:
            raise ValueError(f"the template needs a {part}, such as {part} = 'Group::\"builders\"'")
        entity = {"entity": {"type": ref.type, "id": ref.id}}
        if "slot" in scope:
            made[part] = {"op": scope["op"], **entity}
        else:
            made[part] = {**scope, "in": entity}
    return made
