"""Every dialect of SCIM that a provisioner's record may name."""

from collections.abc import Mapping

from everproof.integrations.entra.scim import DIALECT as ENTRA
from everproof.integrations.okta.scim import DIALECT as OKTA
from everproof.provisioning.dialects import Dialect


def scim_dialects() -> Mapping[str, Dialect]:
    """The dialects that this program knows."""
    return {one.name: one for one in (OKTA, ENTRA)}
