"""Benchmarks: `make bench`. Each prints ratios against a baseline of the same run, and a line of JSON."""
