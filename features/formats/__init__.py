"""Files of events as they come, and the public logs among them."""
