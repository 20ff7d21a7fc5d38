"""Linen modules; they know layers, not poses."""
