"""Trained networks on validation pictures: what evaluate.py does (sections 4.2.2 and 4.2.3)."""
