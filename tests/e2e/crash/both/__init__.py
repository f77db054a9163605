"""Crash histories of a sync that goes both ways: people on both sides, one process that dies again and again."""
