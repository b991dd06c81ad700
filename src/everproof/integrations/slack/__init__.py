"""Slack: messages in its channels and to its people."""
