"""Observations of the inside of a network while it trains."""
