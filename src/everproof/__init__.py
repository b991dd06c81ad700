"""Everproof: a self-hosted zero trust control plane for software delivery."""

__version__ = "0.1.0"
