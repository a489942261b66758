from lbkeras.errors import UserError, one_line


def test_one_line_escapes_control_characters():
    text = "two\nlines\t\u2028\x1b[31mred\x07 \udcff \u202eright ü"
    assert one_line(text) == "two lines \\x1b[31mred\\x07 \\udcff \\u202eright ü"


def test_an_error_carries_its_key_and_what_was_said():
    error = UserError("plan.epochs: expected: at least 1, received 0")
    assert (error.key, error.said) == ("plan.epochs", "expected: at least 1, received 0")
    assert str(error.of("config").of("a")) == f"a.config.{error}"
    without = UserError("keras is missing")
    assert (without.key, without.said, str(without)) == ("", "keras is missing", "keras is missing")
