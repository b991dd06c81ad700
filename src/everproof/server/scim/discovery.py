"""What the server says of itself: RFC 7644, section 4."""

from typing import Any, Final

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    Context,
    ETag,
    External,
    Filter,
    Meta,
    Pagination,
    Patch,
    Reference,
    Resource,
    ResourceType,
    Schema,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
)

from everproof.server.scim.bounds import CURSOR_SECONDS, DEFAULT_PAGE, MAX_BODY, MAX_OPERATIONS, MAX_PAGE
from everproof.server.scim.models import EnterpriseUser, Group, User

USER: Final = User.__class_getitem__(EnterpriseUser)
"""A person with what an organisation says of one: what ``/Users`` serves."""

CONFIG: Final = ServiceProviderConfig(
    patch=Patch(supported=True),
    bulk=Bulk(supported=True, max_operations=MAX_OPERATIONS, max_payload_size=MAX_BODY),
    filter=Filter(supported=True, max_results=MAX_PAGE),
    change_password=ChangePassword(supported=False),
    sort=Sort(supported=True),
    etag=ETag(supported=True),
    pagination=Pagination(
        cursor=True,
        index=True,
        default_pagination_method=Pagination.DefaultPaginationMethod.index,
        default_page_size=DEFAULT_PAGE,
        max_page_size=MAX_PAGE,
        cursor_timeout=CURSOR_SECONDS,
    ),
    authentication_schemes=[
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauth2,
            name="Access token bound to a key",
            description="An access token of this server, shown with a DPoP proof or by its certificate",
            spec_uri=Reference[External]("https://www.rfc-editor.org/rfc/rfc9449"),
            primary=True,
        ),
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauthbearertoken,
            name="Secret of a provisioner",
            description="A bearer secret that is good at this door alone: everproof identity provisioner add",
            spec_uri=Reference[External]("https://www.rfc-editor.org/rfc/rfc6750"),
        ),
    ],
)

PROVIDER: Final = ScimProvider(
    models=[User, EnterpriseUser, Group, ResourceType, ServiceProviderConfig, Schema],
    resource_types=[ResourceType.from_resource(USER), ResourceType.from_resource(Group)],
    config=CONFIG,
)


class Discovery:
    """The three documents, written once."""

    def __init__(self, base: str) -> None:
        """``base`` is the address of the door."""
        self.config = _said(CONFIG, f"{base}/ServiceProviderConfig")
        self.types = {str(one.id): _said(one, f"{base}/ResourceTypes/{one.id}") for one in PROVIDER.resource_types}
        self.schemas = {str(one.id): _said(one, f"{base}/Schemas/{one.id}") for one in PROVIDER.schemas}


def _said(one: Resource[Any], location: str) -> dict[str, Any]:
    located = one.model_copy(update={"meta": Meta(resource_type=type(one).__name__, location=location)})
    return located.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
