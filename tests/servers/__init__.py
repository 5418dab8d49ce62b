"""Real servers for the tests, each in its own process."""
