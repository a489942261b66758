from lbkeras.replication import build_report, format_table


def test_the_table_fits_a_terminal(full_workdir):
    text = format_table(build_report(full_workdir))
    table = text.splitlines()[1:6]
    assert all(len(line) <= 110 for line in table)
    narrow = format_table(build_report(full_workdir), columns=80)
    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert "94.30" in text
    assert "INCONCLUSIVE: Increasing the batch keeps the accuracy." in text
    assert "increase_batch seed 2: diverged after 13 epochs" in text
