"""Pack: tiles oriented and padded, masks, shards, and the statistics over training tiles."""
