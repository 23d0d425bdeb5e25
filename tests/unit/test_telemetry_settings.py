"""Channels: where they come from, and that what opens them is masked while words stay legible."""

from __future__ import annotations

import pytest

from etl.config.settings import Settings, unknown_variables
from etl.config.telemetry_settings import TelemetrySettings, split_urls
from etl.runtime.redaction import Redactor

NOTIFY = (
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#watch-time "
    "mailto://user:horse%40battery@mail.example.com?to=a@b.example,c@d.example,"
    "tgram://123456789:abcdefg_hijklmnop/12315544/ ; ntfy://ntfy.sh/watch-time"
)


def test_urls_are_split_as_apprise_does() -> None:
    apprise = pytest.importorskip("apprise")
    urls = split_urls(NOTIFY)
    assert [url.partition(":")[0] for url in urls] == ["slack", "mailto", "tgram", "ntfy"]
    assert urls[1].endswith("?to=a@b.example,c@d.example")
    assert [url.rstrip(", ;") for url in apprise.utils.parse.parse_urls(NOTIFY)] == list(urls)
    assert (split_urls(""), split_urls(" , \n"), split_urls("nonsense")) == ((), (), ("nonsense",))


def test_what_opens_a_channel_is_masked_and_words_are_not() -> None:
    channels = TelemetrySettings(
        pushgateway_url="http://prometheus:swordfish@gateway.example.com",
        ping_url="https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278",
        notify_urls=split_urls(NOTIFY),
    )
    redact = Redactor(channels.secrets())
    secrets = ["5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278", "TIiajkdnlazkcOXrIdevi7FQ", "T1JJ3T3L2", "abcdefg_hijklmnop",
               "horse%40battery", "horse@battery"]  # fmt: skip
    for secret in secrets:
        assert secret not in redact(f"failed: {secret}!")
    # What could be a word or a number is masked in its place.
    assert "swordfish" not in redact(f"failed: {channels.pushgateway_url}/metrics/job/watch-time")
    legible = "watch-time backfill at mail.example.com by hc-ping.com: prometheus, user, 2026-11-20"
    assert redact(legible) == legible
    assert not any(secret in f"{channels!r}" for secret in secrets)


def test_channels_are_read_whatever_is_wrong_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCH_TIME_LAG_DAYS", "two")
    monkeypatch.setenv("WATCH_TIME_PING_URL", "https://hc-ping.com/x")
    monkeypatch.setenv("WATCH_TIME_NOTIFY_URLS_FILE", "missing")
    assert TelemetrySettings.load() == TelemetrySettings(ping_url="https://hc-ping.com/x")
    assert unknown_variables() == {}


def test_the_settings_know_the_same_channels_and_mask_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PING_URL": "https://hc-ping.com/Canary-42",
        "NOTIFY_URLS": NOTIFY,
        "METRICS_FILE": "x.prom",
        "PUSHGATEWAY_URL": "http://h",
    }.items():
        monkeypatch.setenv(f"WATCH_TIME_{name}", value)
    settings = Settings.load()
    assert settings.telemetry() == TelemetrySettings.load()
    assert {"Canary-42", *split_urls(NOTIFY)} <= set(settings.secrets())
    assert "Canary" not in f"{settings!r} {settings.model_dump_json()}"
