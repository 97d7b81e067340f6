"""Pretraining of an image encoder, and finding the centres of storms in frames."""
