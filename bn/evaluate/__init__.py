"""Evaluation, classification and export of trained networks (sections 4.2.2 and 4.2.3)."""
