"""Trust files for tests."""

from everproof.identity.bindings import TrustBindings, load_bindings
from everproof.integrations.issuers import issuer_kinds

AUDIENCE = "https://everproof.example"
GITHUB = "https://token.actions.githubusercontent.com"

KINDS = issuer_kinds()

SHOP = """
[[binding]]
name = "shop"
id = "github/{repository_id}/{job_workflow_ref}"
groups = ["builders"]
claims.repository_owner_id = "65"
claims.repository_id = "74"
"""


def trust_file(
    url: str, bindings: str = SHOP, *, kind: str = "github", audience: str = AUDIENCE, more: str = ""
) -> str:
    """One trust file."""
    return f'[issuer]\nurl = "{url}"\ntype = "{kind}"\naudience = "{audience}"\n{more}\n{bindings}'


def trusting(url: str, bindings: str = SHOP, *, kind: str = "github", more: str = "") -> TrustBindings:
    """What one file makes trusted."""
    return load(trust_file(url, bindings, kind=kind, more=more))


def load(*files: str) -> TrustBindings:
    """What ``files`` make trusted."""
    named = {f"trust/{number}.toml": text.encode() for number, text in enumerate(files)}
    return load_bindings(named, KINDS)
