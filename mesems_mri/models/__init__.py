"""Models that the project trained or built itself, each with its model card."""
