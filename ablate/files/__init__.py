"""What is kept on disk: the cache, durable writes, remote paths."""
