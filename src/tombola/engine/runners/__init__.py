"""Several workers on one store: processes of this machine, tasks of Ray, jobs of Slurm. Each runs the same local engine."""
