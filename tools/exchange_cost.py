"""Computes what decentralized training sends: bytes per node and update, for ResNet-50.

    python tools/exchange_cost.py [--parameters=25557032]

In each update, a node of DecentLaM (or DmSGD) sends its float32 weights to each of its neighbors,
and a node of gossiping SGD to one partner. In a ring all-reduce of the gradients, each node sends
2 (n - 1) / n times their size. This is the traffic of an implementation that sends only to
neighbors; nodes that are stacked in one process send nothing.
"""

import argparse

from lbkeras.methods.decentralized import mixing

RESNET50 = 25_557_032
BYTES = 4


def rows(parameters):
    """Yields for each number of nodes the bytes of each way of exchange and the spectral gaps."""
    size = parameters * BYTES
    for nodes in (4, 8, 16, 32, 64):
        matrices = {name: make(nodes) for name, make in mixing.TOPOLOGIES.items()}
        sent = {name: mixing.bytes_sent(matrix, size) for name, matrix in matrices.items()}
        sent |= {"gossip": size, "all-reduce": mixing.all_reduce_bytes_sent(nodes, size)}
        yield nodes, sent, {name: mixing.spectral_gap(m) for name, m in matrices.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, default=RESNET50)
    parameters = parser.parse_args().parameters
    names = ["ring", "grid", "exponential", "complete", "gossip", "all-reduce"]
    print(f"{parameters:,} parameters in float32, {parameters * BYTES / 1e6:.1f} MB")
    print("MB sent by a node in one update (x: of an all-reduce); gap: spectral gap")
    print()
    print("| nodes | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 1))
    for nodes, sent, gaps in rows(parameters):
        cells = []
        for name in names:
            cell = f"{sent[name] / 1e6:.0f} ({sent[name] / sent['all-reduce']:.2f}x)"
            if name in gaps:
                cell += f", gap {gaps[name]:.3f}"
            cells.append(cell)
        print(f"| {nodes} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
