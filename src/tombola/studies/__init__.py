"""One package a paper and one module an idea: tables of runs with measurements and claims."""
