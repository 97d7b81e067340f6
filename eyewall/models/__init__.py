"""The wrapper library: named networks, each predicting a correction to CLIPER, from building to SavedModel."""
