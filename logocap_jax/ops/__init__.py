"""Array operations on one example each; callers `vmap` them."""
