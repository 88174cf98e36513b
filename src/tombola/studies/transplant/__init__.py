"""Which of a ticket's parts work together: its mask, its initial values, the recipe that found it (IDEAS I9, F4). One module a table."""
