"""`everproof identity gateway`: the secret stays where it was made."""

from pathlib import Path

from everproof.identity.gateways import gateway_jwk
from everproof.keys import thumbprint
from tests.cli.run import Home


def test_a_gateways_secret_is_in_a_file_and_nowhere_else(ada: Home, tmp_path: Path) -> None:
    file = tmp_path / "edge.secret"
    done = ada.everproof("identity", "gateway", "add", "edge", "--secret", str(file))
    assert done.returncode == 0, done.stderr
    secret = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.startswith("egw_")
    assert secret not in done.stdout + done.stderr
    shown = ada.everproof("identity", "show", "Service::edge").stdout
    assert "enforcement-points" in shown
    assert thumbprint(gateway_jwk(secret)) in shown
    assert ada.everproof("identity", "gateway", "add", "edge", "--secret", str(file)).returncode != 0
    assert file.read_text().strip() == secret
    other = tmp_path / "other.secret"
    assert ada.everproof("identity", "gateway", "add", "edge", "--secret", str(other)).returncode != 0
    assert not other.exists()
    assert ada.everproof("identity", "gateway", "renew", "edge", "--secret", str(other)).returncode == 0
    assert other.read_text().strip() not in {secret, ""}
