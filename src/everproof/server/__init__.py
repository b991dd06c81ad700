"""Doors on the network: each leads to the one call, and has no checks of its own."""
