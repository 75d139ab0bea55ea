"""The full model on one GPU, at the seed's scale."""
