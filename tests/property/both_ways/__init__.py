"""A model of both ways: the deciding core between a source and lists in memory, with everything that may go wrong."""
