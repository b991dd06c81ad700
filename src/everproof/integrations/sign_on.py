"""Every kind of provider that a sign-on file may name, and where the settings say that clients' secrets lie."""

from collections.abc import Mapping

from everproof.identity.outbound import https_url
from everproof.identity.sign_on import NoSecretError, Provider, ProviderKinds
from everproof.identity.sign_on.client_authentication import SecretOf
from everproof.integrations.entra.sign_on import EntraSignOn
from everproof.integrations.google.sign_on import GoogleSignOn
from everproof.integrations.keycloak.sign_on import KeycloakSignOn
from everproof.integrations.oidc.sign_on import OpenIdSignOn
from everproof.integrations.okta.sign_on import OktaSignOn
from everproof.integrations.secret_source import SecretError, SecretSource
from everproof.kernel import settings


def provider_kinds() -> ProviderKinds:
    """The kinds that this program knows."""
    kinds = ProviderKinds()
    for kind in (OktaSignOn(), EntraSignOn(), GoogleSignOn(), KeycloakSignOn(), OpenIdSignOn()):
        kinds.register(kind)
    return kinds


def sign_on_secrets(named: Mapping[str, settings.SignOnClient]) -> SecretOf:
    """What reads the secret of a provider's client. It goes to the issuer that the settings name, and to no other.

    Raises:
        InputError: the settings name a place that there is not.
    """
    sources = {}
    for name, one in named.items():
        https_url(one.issuer, place=f"sign_on.{name}.issuer")
        sources[name] = (one.issuer, SecretSource(one.secret, place=f"sign_on.{name}.secret"))

    def read(provider: Provider) -> str:
        issuer, source = sources.get(provider.name, ("", None))
        if source is None:
            raise NoSecretError(
                f"server.toml names no secret for {provider.name}",
                todo=f"add [sign_on.{provider.name}] with issuer and secret, or authenticate by private-key-jwt",
            )
        if issuer != provider.issuer:
            raise NoSecretError(
                f"server.toml has a secret of {issuer} for {provider.name}, and the sign-on file names another issuer",
                place=f"sign_on.{provider.name}.issuer",
            )
        try:
            return source.read().decode()
        except (SecretError, UnicodeDecodeError) as error:
            raise NoSecretError(
                str(error) if isinstance(error, SecretError) else "the secret is not text",
                place=f"sign_on.{provider.name}.secret",
            ) from error

    return read
