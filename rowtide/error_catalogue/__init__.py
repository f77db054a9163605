"""The catalogue of everything Rowtide tells an operator: each code with its kind, its sentence and its remedy.

In: nothing. Out: one module of entries for each side (`source_errors`, `graph_errors`, `status_reasons`, ...); an error
is made by calling its entry, ``source_errors.SLOT_MISSING(slot=name)``. Rule: no error, parked row, pause or finding
has words that stand elsewhere; docs/errors.md is printed from these modules, and a test compares every use in
the code with the entry it uses.
"""
