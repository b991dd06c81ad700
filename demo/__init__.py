"""The story, on a real server, real git over real SSH, and real tokens of a real OpenID issuer."""
