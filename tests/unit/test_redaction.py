"""What may not be seen is masked wherever it stands in a text, and the rest stays readable."""

from __future__ import annotations

import pytest

from etl.runtime.redaction import Redactor


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("GET https://a.example/r?X=1&exp=2 took 3 s", "GET https://a.example/r?*** took 3 s", id="query"),
        pytest.param("https://a.example/r#frag-ment.", "https://a.example/r?***", id="fragment"),
        pytest.param("<https://a.example/r?k=v> went", "<https://a.example/r?***> went", id="in brackets"),
        pytest.param("'https://a.example/r?k=v', 'x?y'", "'https://a.example/r?***', 'x?y'", id="in quotes"),
        pytest.param("S3://bucket/day.csv?versionId=abc", "S3://bucket/day.csv?***", id="any scheme"),
        pytest.param("https://a.example/r is gone", "https://a.example/r is gone", id="nothing to hide"),
        pytest.param("Loaded? Yes: https stays", "Loaded? Yes: https stays", id="no address"),
        pytest.param("postgresql://me:pass?word@db/x", "postgresql://me:***@db/x", id="password with a mark"),
        pytest.param("Authorization: Bearer abcdefgh", "Authorization: Bearer ***", id="header"),
        pytest.param("b'authorization', b'Basic abcdefgh'", "b'authorization', b'Basic ***'", id="header as bytes"),
        pytest.param("path&Signature=ab%2F&x=1", "path&Signature=***&x=1", id="signature alone"),
        pytest.param("Authorization: Bearer abc", "Authorization: Bearer ***", id="short token in a header"),
        pytest.param("host=h password=watch user=u", "host=h password=*** user=u", id="short password of libpq"),
        pytest.param(r"password = 'wa\'t ch' user=u", "password = *** user=u", id="password of libpq in quotes"),
        pytest.param('sslpassword="a b", x', "sslpassword=***, x", id="password of a key"),
        pytest.param("PGPASSWORD=watch psql", "PGPASSWORD=*** psql", id="variable"),
        pytest.param("x&password=wa%74ch&y=1", "x&password=***&y=1", id="percent-encoded"),
        pytest.param("{'password': 'watch', 'user': 'u'}", "{'password': ***, 'user': 'u'}", id="as Python has it"),
        pytest.param('{"password":"watch","user":"u"}', '{"password":***,"user":"u"}', id="as JSON has it"),
        pytest.param("('password', 'watch')", "('password', ***)", id="as a pair"),
        pytest.param("postgresql://watch:watch@h/watch", "postgresql://watch:***@h/watch", id="name and password"),
        pytest.param("postgresql://u:w%61tch@h", "postgresql://u:***@h", id="percent-encoded in an address"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert Redactor()(text) == masked


def test_a_known_secret_is_masked_in_each_way_of_writing_it() -> None:
    secret = 'k"ey/+\n12'
    told = Redactor([secret])(f'{secret} | {secret!r} | k\\"ey/+\\n12 | k%22ey/%2B%0A12 | k%22ey%2F%2B%0A12')
    assert "ey" not in told
    assert told.count("***") == 5


def test_of_secrets_that_hold_one_another_nothing_is_left() -> None:
    assert Redactor(["abcd-123", "abcd-12345"])("abcd-12345 abcd-123") == "*** ***"


def test_secrets_known_before_are_forgotten() -> None:
    redactor = Redactor(["f1rst-secret"])
    redactor.know(["sec0nd-secret"])
    assert redactor("f1rst-secret sec0nd-secret") == "f1rst-secret ***"


OUR_WORDS = (
    "127.0.0.1/postgres cannot be reached: connection failed, twice on 2026-11-20; 12345678 rows; try again later; "
    "watch-time doctor looks at the connection; see WATCH_TIME_SCHEMA, customer_id, BlendVision, PostgreSQL, warehouse"
)


@pytest.mark.parametrize(
    "secret",
    ["watch", "a", "1", "12", "postgres", "PostgreSQL", "BlendVision", "watch-time", "customer_id", "warehouse",
     "2026-11-20", "12345678", "connection", "127.0.0.1"],
)  # fmt: skip
def test_a_secret_that_could_be_a_word_leaves_our_words_alone_and_is_masked_where_secrets_stand(secret: str) -> None:
    """A mask in the place of a word tells the secret to whoever knows the word."""
    redactor = Redactor([secret])
    assert redactor(OUR_WORDS) == OUR_WORDS
    assert redactor(f"postgresql://u:{secret}@h/d?x=1") == "postgresql://u:***@h/d?***"
    assert redactor(f"host=h password='{secret}'") == "host=h password=***"


@pytest.mark.parametrize("secret", ["tr0ub4dor", "wr@pped!", "sesame-1", "correct-horse", "qWjKzMvPxHtR", "8 Zeichen"])
def test_a_secret_that_is_no_word_is_masked_everywhere(secret: str) -> None:
    assert Redactor([secret])(f"<{secret}>, x{secret}x") == "<***>, x***x"
