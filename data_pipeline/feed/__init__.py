"""Records -> augmented batches."""
