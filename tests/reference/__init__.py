"""Slow and obvious NumPy versions, written from the specification."""
