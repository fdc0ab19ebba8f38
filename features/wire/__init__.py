"""The way to Redis: connections, nodes, keys, scripts and streams."""
