"""Identity and status of foci through the visits of a participant."""
