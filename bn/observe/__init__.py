"""What is observed inside a network while it trains."""
