"""`rowtide demo`: everything on one machine, thrown away afterwards."""
