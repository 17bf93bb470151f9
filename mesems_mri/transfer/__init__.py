"""Transfer from the reading centre to central analysis: bundles, built, signed, sent and verified.

`manifest`, `archive`, `keys` and `verify` are what the receiving side uses as well; they import nothing that
reads an image.
"""
