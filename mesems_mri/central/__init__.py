"""The receiving side: what the reading centre sends is checked, stored once, and compared with what is due.

Its environment has no image processing and no workflow (dependency group ``central``).
"""
