"""What is served: people and groups, in the schemas of RFC 7643 as they are used.

There is no ``password``: nobody here has one, and what is sent as one is thrown away unread.
"""

from typing import Annotated, Any, Final, Union

from pydantic import Field
from scim2_models import (
    URN,
    Address,
    CaseExact,
    ComplexAttribute,
    Entitlement,
    Extension,
    External,
    GroupMembership,
    Im,
    Mutability,
    Name,
    PhoneNumber,
    Photo,
    Reference,
    Required,
    Resource,
    Role,
    Uniqueness,
    X509Certificate,
)

_PRIMARY: Final = "Whether it is the preferred one; at most one is."


class Email(ComplexAttribute):
    """An address of a person's mail."""

    value: str | None = None
    """The address, in plain ASCII. It may be one person's alone."""
    display: str | None = None
    """The address as it is shown."""
    type: str | None = Field(None, examples=["work", "home", "other"])
    """What it is for. Commits are made as those for work, and as the preferred one."""
    primary: bool | None = Field(None, description=_PRIMARY)


class Manager(ComplexAttribute):
    """Whom a person answers to."""

    value: Annotated[str | None, CaseExact.true] = None
    """The id of their resource, or what the client calls them."""
    ref: Annotated[Reference["User"] | None, Mutability.read_write] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    """The address of their resource."""
    display_name: Annotated[str | None, Mutability.read_only] = None
    """What they are called."""


class EnterpriseUser(Extension):
    """A person in an organisation."""

    __schema__ = URN("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")

    employee_number: str | None = None
    """The number that the organisation gave them. Policies know it as employee_number."""
    cost_center: str | None = None
    """The name of a cost centre."""
    organization: str | None = None
    """The name of an organisation."""
    division: str | None = None
    """The name of a division."""
    department: str | None = None
    """The name of a department. Policies know it as department."""
    manager: Manager | None = None
    """Whom they answer to. Policies know them as manager."""


class User(Resource[Any]):
    """A person."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    """What the person signs in as: plain ASCII, in which case does not count."""
    name: Name | None = None
    """The parts of the person's name."""
    display_name: str | None = None
    """The person's name as it is shown."""
    nick_name: str | None = None
    """What the person is called casually."""
    profile_url: Reference[External] | None = None
    """The address of a page about the person."""
    title: str | None = None
    """The person's title, such as Vice President."""
    user_type: str | None = None
    """How the person belongs to the organisation, such as Employee. Policies know it as employee_type."""
    preferred_language: str | None = None
    """The languages that the person prefers."""
    locale: str | None = None
    """Where the person is, for the form of dates and numbers."""
    timezone: str | None = None
    """The person's time zone."""
    active: bool | None = None
    """Whether the person may prove who they are. When it becomes false, all that they have ends."""
    emails: list[Email] | None = None
    """Addresses of the person's mail."""
    phone_numbers: list[PhoneNumber] | None = None
    """Numbers of the person's telephones."""
    ims: list[Im] | None = None
    """Addresses for messages."""
    photos: list[Photo] | None = None
    """Addresses of pictures of the person."""
    addresses: list[Address] | None = None
    """Where the person is reached by post."""
    groups: Annotated[list[GroupMembership] | None, Mutability.read_only] = None
    """The groups that the person is in: those of this client."""
    entitlements: list[Entitlement] | None = None
    """What the person is entitled to elsewhere. It entitles to nothing here."""
    roles: list[Role] | None = None
    """What the person is elsewhere. It is no role here."""
    x509_certificates: list[X509Certificate] | None = None
    """Certificates of the person. They prove nobody here."""


class GroupMember(ComplexAttribute):
    """Who is in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """The id of a person's resource, or of a group's."""
    ref: Annotated[
        Reference[Union["User", "Group"]] | None,
        Mutability.immutable,
    ] = Field(None, serialization_alias="$ref", validation_alias="$ref")
    """The address of their resource."""
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User", "Group"])
    """What kind of resource it is."""


class Group(Resource[Any]):
    """A group of people."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    """What the group is called."""
    members: list[GroupMember] | None = None
    """Who is in it: people, and other groups."""
