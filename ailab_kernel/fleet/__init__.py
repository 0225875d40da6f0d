"""How big a room each team gets, and what the seed expects of it. Light: the hub's own process imports it."""
