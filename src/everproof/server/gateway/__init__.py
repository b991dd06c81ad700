"""The door for gateways: nginx, Caddy, Traefik and Envoy ask whether a request may go on to the service behind them."""

from everproof.server.gateway.door import GatewayDoor

__all__ = ["GatewayDoor"]
