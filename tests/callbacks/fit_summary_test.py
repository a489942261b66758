import pytest

from lbkeras.callbacks.fit_summary import FitSummary


@pytest.fixture
def summary_of(monkeypatch):
    """Returns a function from epochs (batch size, seconds per step) of 1,000 examples to a line."""

    def line(epochs, first=None):
        class Clock:
            now = 0.0

            def perf_counter(self):
                return self.now

        clock = Clock()
        monkeypatch.setattr("lbkeras.callbacks.fit_summary.time", clock)
        summary = FitSummary()
        for size, seconds in epochs:
            summary.begin_epoch(size)
            for number, each in enumerate(seconds, start=1):
                clock.now += each
                summary.end_step(number)
            clock.now += 1000.0  # an evaluation
        return summary.line(first, lambda size: 1000 // size)

    return line


def test_the_trace_counts_once_on_both_sides(summary_of):
    # 10 + 10 updates at 100 of 1 s each, the first traced in 21 s, then 2 at 500.
    epochs = [(100, [21] + 9 * [1]), (100, 10 * [1]), (500, [3, 3])]
    assert summary_of(epochs) == (
        "22 updates, 46.0 s of training, 3,000 examples; at batch size 100 throughout: "
        "30 updates (1.4 times as many), about 50 s"
    )


def test_a_single_batch_size_is_not_compared(summary_of):
    assert summary_of([(500, [3, 3])]) == "2 updates, 6.0 s of training, 1,000 examples"


def test_an_incomplete_epoch_counts_in_proportion(summary_of):
    assert summary_of([(100, 10 * [1]), (200, [1])]) == (
        "11 updates, 11.0 s of training, 1,200 examples; at batch size 100 throughout: "
        "12 updates (1.1 times as many), about 12 s"
    )


def test_a_smaller_batch_takes_more_updates(summary_of):
    assert summary_of([(500, [1, 1]), (250, 4 * [1])]).endswith(
        "at batch size 500 throughout: 4 updates (0.7 times as many), about 4 s"
    )


def test_without_steps_there_is_no_line(summary_of):
    assert summary_of([]) == summary_of([(100, [])]) == ""
