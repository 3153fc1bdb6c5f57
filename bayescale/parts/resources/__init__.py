"""Resources: resources spent → effective params and tokens, one file per kind."""
