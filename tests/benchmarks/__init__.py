"""How fast the portal is, beside what could be had at best: `make bench`; the results are in docs/benchmarks.md."""
