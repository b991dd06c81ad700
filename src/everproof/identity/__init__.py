"""Who asks: proofs, trust bindings, principals, tokens and their lineage."""
