"""Feature rows in Redis: loaded by version, read in one trip, swept when nobody reads them."""
