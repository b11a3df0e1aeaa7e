"""Live venues: a connection each, kept alive, whose frames become ticks."""
