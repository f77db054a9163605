"""The pure core of Rowtide: values in, values out; no IO, clock, randomness or logging."""
