"""A bundle: the files of `.everproof/`, with their policies read, type-checked and named."""

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import cedarpy
import msgspec

from everproof.kernel.canonical import encode
from everproof.policy.balance import balanced, policy_set
from everproof.policy.errors import BundleError, all_at_once
from everproof.policy.links import links_of
from everproof.policy.schema import FOLDER as SCHEMAS
from everproof.policy.schema import SUFFIX as SCHEMA_SUFFIX
from everproof.policy.schema import Schema, decoded, schema_of
from everproof.policy.source import Statement, Text, plain_messages, statements
from everproof.policy.trials import Trial, trials_of

FOLDER: Final = "policies/"
SUFFIX: Final = ".cedar"
LINKS_SUFFIX: Final = ".links.toml"
TESTS_SUFFIX: Final = ".test.toml"

ANNOTATIONS: Final = ("id", "title", "advice", "shadow")
REMEMBERED: Final = 8
"""Bundles that were read last: one is checked, tested, replayed and applied, each time from its files."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")

Effect = Literal["permit", "forbid"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy, or one link of a template. ``est`` is its form in the engine's JSON, slots filled.

    ``shadow``: it is evaluated and recorded, and binds nobody.
    """

    id: str
    title: str
    advice: str
    effect: Effect
    shadow: bool
    place: str
    text: str
    est: dict[str, Any]
    template: str | None = None


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What rules, or may come to rule. ``digest`` (SHA-256, hex) is over all files, which came from ``commit``."""

    files: Mapping[str, bytes]
    digest: str
    commit: str
    schema: Schema
    policies: tuple[Policy, ...]
    templates: tuple[Policy, ...]
    trials: tuple[Trial, ...]

    def policy(self, id_: str) -> Policy | None:
        """The policy of this id."""
        return next((policy for policy in self.policies if policy.id == id_), None)


def load_bundle(files: Mapping[str, bytes], *, commit: str = "") -> Bundle:
    """The bundle in these files, named by their paths in `.everproof/`, such as ``policies/build.cedar``.

    Raises:
        BundleError: it cannot rule; the error has its place and line, and in ``further`` whatever else is wrong.
    """
    return _loaded(tuple(files.items()), commit)


@lru_cache(maxsize=REMEMBERED)
def _loaded(content: tuple[tuple[str, bytes], ...], commit: str) -> Bundle:
    files = dict(content)
    schema = schema_of(files)
    errors: list[BundleError] = _misplaced(files)
    found: list[Policy] = []
    for path in sorted(files):
        if path.startswith(FOLDER) and path.endswith(SUFFIX):
            _read_file(Text(path, decoded(path, files[path])), schema, found, errors)
    static = [policy for policy in found if not _slots(policy.est)]
    templates = [policy for policy in found if _slots(policy.est)]
    names = {policy.id: policy.place for policy in found}
    for path in sorted(files):
        if path.startswith(FOLDER) and path.endswith(LINKS_SUFFIX):
            text = Text(path, decoded(path, files[path]))
            for policy in links_of(text, {one.id: one for one in templates}, errors):
                _require_new(policy, names, errors)
                _validate_link(policy, schema, errors)
                static.append(policy)
    if not (errors or static):
        errors.append(BundleError("there is no policy, so nothing would be allowed", place=FOLDER))
    if errors:
        raise all_at_once(errors)
    return Bundle(
        files=files,
        digest=digest(files),
        commit=commit,
        schema=schema,
        policies=tuple(static),
        templates=tuple(templates),
        trials=tuple(
            trial
            for path in sorted(files)
            if path.startswith(FOLDER) and path.endswith(TESTS_SUFFIX)
            for trial in trials_of(Text(path, decoded(path, files[path])), schema, {policy.id for policy in static})
        ),
    )


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the paths and contents of all files, in hex."""
    return hashlib.sha256(encode({path: hashlib.sha256(body).hexdigest() for path, body in files.items()})).hexdigest()


def _misplaced(files: Mapping[str, bytes]) -> list[BundleError]:
    """A policy that lies where nobody looks would be taken for one that rules."""
    homes = {SUFFIX: FOLDER, SCHEMA_SUFFIX: SCHEMAS, LINKS_SUFFIX: FOLDER, TESTS_SUFFIX: FOLDER}
    return [
        BundleError(f"a {suffix} file outside {home}, where nobody looks", place=path, todo=f"move it into {home}")
        for path in sorted(files)
        for suffix, home in homes.items()
        if path.endswith(suffix) and not path.startswith(home)
    ]


def _read_file(text: Text, schema: Schema, found: list[Policy], errors: list[BundleError]) -> None:
    try:
        parts = statements(text)
    except BundleError as error:
        errors.append(error)
        return
    names = {policy.id: policy.place for policy in found}
    for statement in parts:
        try:
            policy = _read(statement)
        except BundleError as error:
            errors.append(error)
            continue
        if _require_new(policy, names, errors, statement):
            found.append(policy)
        errors.extend(_type_errors(statement, schema))


def _read(statement: Statement) -> Policy:
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(statement.text))
    except ValueError as error:
        raise statement.syntax_error(str(error), cedarpy.policies_to_json_str) from error
    except RecursionError as error:
        raise _too_deep(statement) from error
    est: dict[str, Any] = (parsed["staticPolicies"] or parsed["templates"])["policy0"]
    est["conditions"] = [{**one, "body": balanced(one["body"])} for one in est["conditions"]]
    if not _slots(est):
        try:
            policy_set([("x", est)])
        except ValueError as error:
            raise _too_deep(statement) from error
    annotations = est.get("annotations", {})
    for name in annotations:
        close = difflib.get_close_matches(name, ANNOTATIONS, 1, 0.7)
        if name not in ANNOTATIONS and close:
            at = statement.find("@", name)
            raise statement.source.error(
                f"there is no annotation @{name}; did you mean @{close[0]}?", at or statement.start
            )
    id_ = annotations.get("id")
    if not id_:
        raise statement.source.error("the policy has no @id", statement.start, todo='begin it with @id("a-name")')
    if _ID.fullmatch(id_) is None:
        at = statement.find("@", "id")
        raise statement.source.error(f"{id_!r} is not a name: letters, digits and . _ / - only", at or statement.start)
    shadow = annotations.get("shadow", "false")
    if shadow not in {"true", "false"}:
        at = statement.find("@", "shadow")
        raise statement.source.error('@shadow is "true" or "false"', at or statement.start)
    return Policy(
        id=id_,
        title=annotations.get("title") or id_,
        advice=annotations.get("advice") or "",
        effect=est["effect"],
        shadow=shadow == "true",
        place=f"{statement.source.path}:{statement.source.line(statement.start)}",
        text=statement.text,
        est=est,
    )


def _too_deep(statement: Statement) -> BundleError:
    todo = "write it as several conditions or policies"
    return statement.source.error("nested too deeply for the engine", statement.start, todo=todo)


def _require_new(
    policy: Policy, names: dict[str, str], errors: list[BundleError], statement: Statement | None = None
) -> bool:
    if policy.id not in names:
        names[policy.id] = policy.place
        return True
    message = f"{names[policy.id]} has a policy {policy.id!r} already"
    if statement is None:
        errors.append(BundleError(message, place=policy.place))
    else:
        errors.append(statement.source.error(message, statement.find("@", "id") or statement.start))
    return False


def _type_errors(statement: Statement, schema: Schema) -> list[BundleError]:
    result = cedarpy.validate_policies(statement.text, schema.handle)
    if result.validation_passed:
        return []
    messages = plain_messages("policy0", [error.error for error in result.errors])
    places = [(statement.named(message), message) for message in messages]
    # What names nothing of the text mostly follows from what does.
    named = [(at, message) for at, message in places if at is not None] or [
        (_about_as_a_whole(statement, messages[0]), messages[0])
    ]
    return [statement.source.error(message, at) for at, message in named]


def _about_as_a_whole(statement: Statement, message: str) -> int:
    """Where to look when the message names no word of the text: the scope, or the first condition."""
    words = ("permit", "forbid") if "scope" in message else ("when", "unless")
    places = (statement.find(word) for word in words)
    return next((at for at in places if at is not None), statement.start)


def _validate_link(policy: Policy, schema: Schema, errors: list[BundleError]) -> None:
    whole = json.dumps({"staticPolicies": {"policy0": policy.est}, "templates": {}, "templateLinks": []})
    result = cedarpy.validate_policies(cedarpy.policies_from_json_str(whole), schema.handle)
    messages = plain_messages("policy0", [error.error for error in result.errors])
    errors += [BundleError(message, place=policy.place) for message in messages[:1]]


def _slots(est: dict[str, Any]) -> bool:
    return any("slot" in est[part] or "slot" in est[part].get("in", {}) for part in ("principal", "resource"))
