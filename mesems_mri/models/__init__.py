"""Models that the project made itself, each with a card of its origin."""
