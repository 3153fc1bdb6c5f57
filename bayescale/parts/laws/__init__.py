"""Laws: effective inputs → loss, one file a form."""
