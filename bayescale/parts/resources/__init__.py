"""Resources: what was spent → effective params and tokens, one file a kind."""
