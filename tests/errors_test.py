from lbkeras.errors import one_line


def test_one_line_shows_what_a_terminal_would_obey():
    text = "two\nlines\t\u2028\x1b[31mred\x07 \udcff \u202eright ü"
    assert one_line(text) == "two lines \\x1b[31mred\\x07 \\udcff \\u202eright ü"
