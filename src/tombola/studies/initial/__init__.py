"""What an initialisation is for: how weights are drawn, how large, with which signs, and under a mask (IDEAS I4). One module a question."""
