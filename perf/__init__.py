"""Benchmarks: `make perf` writes perf/results/latest.json. Figures are ratios against a peer or a limit of one run."""
