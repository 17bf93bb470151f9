"""The simulated phantom trial with its exact reference standard."""
