"""Files on disk: the cache, durable writes, remote paths."""
