import json

from lbkeras.replication.plots.curves import draw_curves
from lbkeras.replication.replication_folder import read_replication_folder


def test_the_noise_scale_of_the_arms_that_measured_it(make_workdir):
    folder = make_workdir({"original": ["finished"] * 2, "increase_batch": ["finished"]}, claims=[])
    for seed, factor in ((0, 1.0), (1, 3.0)):
        path = folder / f"original/seed_{seed}/history.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            scale = factor * (row["epoch"] + 1)
            error = scale if row["epoch"] >= 58 else 0.1 * scale
            row |= {"gradient_noise_scale": scale, "gradient_noise_scale_error": error}
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    arms = read_replication_folder(folder).runs
    (axes,) = draw_curves(arms, "gradient_noise_scale", "epochs").axes
    entry, mean, bounds = axes.get_lines()
    assert entry.get_label() == "original: 120 ± 85 (n=2)"
    assert list(mean.get_ydata()) == [2.0 * epoch for epoch in range(1, 61)]
    assert list(bounds.get_xdata()) == [59, 60] and bounds.get_marker() == "^"
    assert axes.get_yscale() == "log"
