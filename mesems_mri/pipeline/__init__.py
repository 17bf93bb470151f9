"""One function per workflow rule: paths in, products and a record out."""
