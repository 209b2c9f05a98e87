"""What evaluate.py does: the accuracy of trained networks (sections 4.2.2 and 4.2.3)."""
