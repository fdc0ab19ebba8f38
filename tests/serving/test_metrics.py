"""Metrics: what is counted and timed comes out as Prometheus text that any scraper reads."""

import re

from serving.metrics import REQUESTS, SLATES, STAGE_SECONDS, STORE_AGE, Metrics

LINE = re.compile(r'^[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? [0-9.e+-]+$')


def test_counters_add_up_per_label():
    metrics = Metrics()
    metrics.count(SLATES, "full")
    metrics.count(SLATES, "full", by=2)
    metrics.count(SLATES, "popular")
    assert 'reelrank_slates_total{served_by="full"} 3' in metrics.text()
    assert 'reelrank_slates_total{served_by="popular"} 1' in metrics.text()


def test_a_histogram_is_cumulative_and_ends_in_its_count():
    metrics = Metrics()
    for seconds in (0.0004, 0.0015, 0.0015, 9.0):
        metrics.observe(STAGE_SECONDS, seconds, "score")
    text = metrics.text()
    buckets = re.findall(r'reelrank_stage_seconds_bucket\{stage="score",le="([^"]+)"\} (\d+)', text)
    counts = [int(count) for _, count in buckets]
    assert buckets[0] == ("0.0005", "1")
    assert buckets[-1] == ("+Inf", "4")
    assert counts == sorted(counts)
    assert counts[-2] == 3
    assert 'reelrank_stage_seconds_count{stage="score"} 4' in text


def test_a_gauge_says_what_is_now_not_what_has_been():
    metrics = Metrics()
    metrics.gauge(STORE_AGE, 7.5, "users")
    metrics.gauge(STORE_AGE, 2.5, "users")
    assert 'reelrank_store_age_seconds{what="users"} 2.5' in metrics.text()


def test_a_scrape_measures_the_store(client):
    text = client.get("/metrics").text
    assert re.search(r"^reelrank_store_waiting \d", text, re.M)
    assert re.search(r'^reelrank_store_age_seconds\{what="users"\} [0-9.]+', text, re.M)
    assert re.search(r'^reelrank_store_age_seconds\{what="statistics"\} [0-9.]+', text, re.M)


def test_a_time_on_a_bound_belongs_to_its_bucket():
    metrics = Metrics()
    metrics.observe(STAGE_SECONDS, 0.001, "score")
    assert 'reelrank_stage_seconds_bucket{stage="score",le="0.001"} 1' in metrics.text()


def test_every_line_is_well_formed_whatever_the_labels_hold():
    metrics = Metrics()
    metrics.count(REQUESTS, 'a "quoted"\\ path\n', "200")
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#")]
    assert len(lines) == 1
    assert LINE.match(lines[0]), lines[0]


def test_a_large_count_is_told_to_the_last_one():
    metrics = Metrics()
    metrics.count(SLATES, "full", by=12_345_678)
    assert 'reelrank_slates_total{served_by="full"} 12345678\n' in metrics.text()
