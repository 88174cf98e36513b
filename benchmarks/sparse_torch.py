"""PyTorch's CSR format for `sparse.py`, in a process of its own: ``sparse_torch.py REPEATS``.

The places of kept weights are read from stdin; the seconds of each layer, once a repeat, go to stdout.
"""

import json
import sys

import torch
from sparse_ways import BATCH, timed


def main() -> None:
    repeats = int(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measures = [timed(step_of(*one)) for one in json.load(sys.stdin)]
    print(json.dumps([[measure() for measure in measures] for _ in range(repeats)]))


def step_of(shape, rows, columns):
    places = torch.tensor([rows, columns])
    weights = torch.sparse_coo_tensor(places, 0.05 * torch.randn(len(rows)), shape)
    inputs, forward = weights.coalesce().to_sparse_csr(), weights.t().coalesce().to_sparse_csr()
    x, d = torch.randn(shape[0], BATCH), torch.randn(shape[1], BATCH)

    def step():
        # sampled_addmm gives the product at the places of its first operand alone.
        return forward @ x, torch.sparse.sampled_addmm(inputs, x, d.t(), beta=0.0), inputs @ d

    return step


if __name__ == "__main__":
    main()
