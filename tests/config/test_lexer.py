"""Comments, braces and the three tokenisers."""

import pytest

from holdfast.config.lexer import escaped_words, quoted_words, split, split_braces, strip_comment


@pytest.mark.parametrize(
    ("line", "kept", "quote_left_open"),
    [
        ("  priority 100\t\r", "priority 100", False),
        ("priority 100# remark", "priority 100", False),
        ("priority 100!remark", "priority 100", False),
        ('router_id "a # b ! c" # d', 'router_id "a # b ! c"', False),
        (r"script /bin/a \# \! b # c", "script /bin/a # ! b", False),
        (r"script a\b \" # c", r'script a\b \" # c', True),
        ("script 'a # b'", "script 'a", False),
        ('router_id "open # b', 'router_id "open # b', True),
        ("# nothing", "", False),
    ],
)
def test_comments(line: str, kept: str, quote_left_open: bool) -> None:
    assert strip_comment(line) == (kept, quote_left_open)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a {", ["a", "{"]),
        ("a{b}", ["a", "{", "b", "}"]),
        ("}}", ["}", "}"]),
        ('vrrp_instance "a{b" {', ['vrrp_instance "a{b"', "{"]),
        ("virtual_ipaddress { 10.0.0.1 } priority 150", ["virtual_ipaddress", "{", "10.0.0.1", "}", "priority 150"]),
        ("priority 1", ["priority 1"]),
        ("", []),
    ],
)
def test_braces_end_a_line_wherever_they_stand(text: str, pieces: list[str]) -> None:
    assert split_braces(text) == pieces


@pytest.mark.parametrize(
    ("text", "words", "open_quote"),
    [
        ("a  b\tc", ("a", "b", "c"), False),
        ('abc"d e"f', ("abc", "d e", "f"), False),
        ('a "" b', ("a", "", "b"), False),
        ("a 'b c'", ("a", "'b", "c'"), False),
        ('a b "c d', ("a", "b"), True),
        ("a\u3000b c", ("a\u3000b", "c"), False),  # only blanks and tabs part words
        ("a\u00a0b", ("a\u00a0b",), False),
    ],
)
def test_standard_words(text: str, words: tuple[str, ...], open_quote: bool) -> None:
    assert split(text) == (words, open_quote)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        (r'''"/opt/t 'a b' c"''', ("/opt/t", "a b", "c")),
        (r'''"/opt/t \"c d\" x\ y"''', ("/opt/t", '"c', 'd"', "x y")),
        (r"""'/opt/t "q r"'""", ("/opt/t", "q r")),
        (r"/opt/t 'a b'", ("/opt/t",)),  # the next word would be a user
        (r'abcd" efg "mn', ("abcd", "efg", "mn")),
        (r'"/opt/t \x41\102\n\cA\q"', ("/opt/t", "AB\n\x01q")),
        (r'"/opt/t \""', ("/opt/t", '"')),
    ],
)
def test_script_lines(text: str, argv: tuple[str, ...]) -> None:
    words, _open = quoted_words(text)
    assert escaped_words(words[0]) == argv


def test_an_open_quote_in_a_script_line_is_told() -> None:
    assert quoted_words("notify '/bin/a") == (["notify", "/bin/a"], True)
