"""Webhooks: services of one's own, called with a signature."""
