"""Jenkins: the tokens of its builds."""
