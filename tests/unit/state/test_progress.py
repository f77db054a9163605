"""The latency histogram."""

import random

import pytest

from state import progress


def test_a_percentile_is_within_a_bucket_of_the_truth() -> None:
    chance = random.Random(7)
    latencies = sorted(chance.lognormvariate(5.5, 0.8) for _ in range(5_000))
    counts = [0] * progress.BUCKETS
    for latency in latencies:
        counts[progress.latency_bucket(latency)] += 1
    for share in (0.5, 0.95, 0.99):
        told = progress.percentile_ms(counts, share)
        assert told == pytest.approx(latencies[int(share * len(latencies))], rel=0.15)


@pytest.mark.parametrize("latency", [0.0, 0.5, 1.0, 1.01, 17.0, 400.0, 86_400_000.0])
def test_a_latency_lies_below_its_bound(latency: float) -> None:
    bucket = progress.latency_bucket(latency)
    if bucket < progress.BUCKETS - 1:
        assert latency <= progress.bound_ms(bucket) * 1.000_001
    assert bucket == 0 or latency > progress.bound_ms(bucket - 1) * 0.999_999


def test_nothing_measured_has_no_percentile() -> None:
    assert progress.percentile_ms([0] * progress.BUCKETS, 0.5) is None
    assert progress.percentile_ms([], 0.5) is None
