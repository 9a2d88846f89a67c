"""A real Slurm of the tests' own, jobs of every awkward kind on it, and the books beside what Slurm says itself."""
