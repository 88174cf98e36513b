"""Schedules, optimisers, the loop over a cohort of replicas, trajectories, and the plan of devices."""
