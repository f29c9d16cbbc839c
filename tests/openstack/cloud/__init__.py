"""The small cloud that the stories run in: real services on loopback, each on a port of its own choosing."""
