"""Laws: effective inputs → loss, one file per form."""
