"""Several workers on one store: processes of this machine, jobs of Slurm. Each runs the same local engine."""
