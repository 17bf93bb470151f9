"""A trial on disk: raw BIDS, the output folder, its tables, visit schedule and queries."""
