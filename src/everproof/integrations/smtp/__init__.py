"""SMTP: mail by a server of one's own."""
