"""From dense maps and pose slots to final poses."""
