"""This server as an OpenID provider: who may ask it who somebody is, and what it answers."""
