"""Users who go: from everywhere, with a proof."""
