"""Reading: readers correct what was found, two reads are compared, an adjudicator decides, a manager locks.

The present state of a read is a fold over its events, which are only ever added (extra ``review``).
"""
