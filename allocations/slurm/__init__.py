"""Slurm, the engine that runs the jobs: reading what it recorded."""
