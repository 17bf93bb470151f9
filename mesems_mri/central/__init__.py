"""Receiving side (data centre): transfers are verified, stored once, and reconciled with the visit schedule.

Its environment has no image processing and no workflow (dependency group ``central``).
"""
