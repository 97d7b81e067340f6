"""Storm-centred samples: frames joined with best tracks, split without leaks, stored as TFRecord shards."""
