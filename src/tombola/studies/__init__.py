"""One module a paper: each study a table of runs with its measurements, claims and figures."""
