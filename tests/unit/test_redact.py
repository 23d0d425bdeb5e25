"""What may not be seen is masked wherever it stands in a text, and the rest stays readable."""

from __future__ import annotations

import pytest

from etl.redact import Redactor


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
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert Redactor()(text) == masked


def test_a_known_secret_is_masked_in_each_way_of_writing_it() -> None:
    secret = 'k"ey/+\n1'
    told = Redactor([secret])(f'{secret} | {secret!r} | k\\"ey/+\\n1 | k%22ey%2F%2B%0A1')
    assert "ey" not in told
    assert told.count("***") == 4


def test_of_secrets_that_hold_one_another_nothing_is_left() -> None:
    assert Redactor(["abc", "abcdef"])("abcdef abc") == "*** ***"


def test_secrets_known_before_are_forgotten() -> None:
    redactor = Redactor(["first"])
    redactor.know(["second"])
    assert redactor("first second") == "first ***"
