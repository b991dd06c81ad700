"""Any OpenID Connect issuer, for those that have no integration of their own."""
