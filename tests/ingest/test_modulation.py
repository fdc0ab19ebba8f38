"""How a sound moves: rates, directions and regions are told apart, and silence around it changes little."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.encoders.modulation import (
    BANDS,
    RATES_HZ,
    SCALES,
    WINDOW,
    _band_passes,
    _octaves,
    modulation_sizes,
    modulations,
)

MELS, FRAME_S = 64, 0.01
CPU = torch.device("cpu")


def moving(rate_hz: float, cycles: float = 0.0, seconds: float = 5.0) -> torch.Tensor:
    """Bands whose strength goes up and down; with cycles across the mel axis, as ripples that climb."""
    t = torch.arange(int(seconds / FRAME_S)) * FRAME_S
    place = torch.arange(MELS)[:, None] / MELS
    return (1.0 + 0.5 * torch.cos(2 * np.pi * (rate_hz * t - cycles * place)))[None]


def strengths(bands: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By pair of bands (BANDS, rates), signed octave (octaves, rates), region (regions, octaves, rates)."""
    pairs, whole, regions = (part.exp()[0] for part in modulations(bands, FRAME_S))
    return pairs[0], whole[0], regions


@pytest.mark.parametrize("place", range(len(RATES_HZ)))
def test_a_band_that_moves_at_a_rate_is_strongest_at_that_rate(place: int) -> None:
    pairs, whole, regions = strengths(moving(RATES_HZ[place]))
    assert (pairs.argmax(dim=1) == place).all()
    assert int(whole[0].argmax()) == place
    assert (regions[:, 0].argmax(dim=1) == place).all()


@pytest.mark.parametrize("octave", range(1, len(SCALES) - 1))
def test_ripples_that_climb_and_ripples_that_fall_are_told_apart(octave: int) -> None:
    cycles = (SCALES[octave] + SCALES[octave + 1] - 1) // 2
    climbing, falling = (strengths(moving(4.0, sign * cycles))[1].amax(dim=1) for sign in (1, -1))
    places = {int(climbing.argmax()), int(falling.argmax())}
    assert places == {2 * octave - 1, 2 * octave}
    assert climbing[climbing.argmax()] > 10 * falling[climbing.argmax()]


def test_what_moves_in_one_region_is_heard_there() -> None:
    bands = torch.full((1, MELS, 500), 0.5)
    bands[:, :16] = moving(4.0)[:, :16]
    regions = strengths(bands)[2].amax(dim=(1, 2))
    assert int(regions.argmax()) == 0
    assert regions[0] > 5 * regions[2]


def test_silence_behind_a_sound_changes_its_faster_motion_little() -> None:
    bands = moving(9.0, 3.0, 5.0) * torch.linspace(0.2, 1.0, MELS)[:, None]
    padded = torch.cat([bands, torch.zeros(1, MELS, 500)], dim=2)
    fast = [k for k, rate in enumerate(RATES_HZ) if 7.0 < rate < 12.0]
    for alone, behind in zip(strengths(bands)[:2], strengths(padded)[:2], strict=True):
        strong = alone[:, fast] > 0.3 * alone[:, fast].max()
        ratio = (behind[:, fast] / alone[:, fast])[strong]
        assert 0.8 < float(ratio.min()) <= float(ratio.max()) < 1.25


@given(st.integers(251, 6001))
@settings(max_examples=30, deadline=None)
def test_band_passes_add_up_to_one_between_the_outermost_rates(frames: int) -> None:
    bins, seconds = frames // 2 + 1, frames * FRAME_S
    total = torch.zeros(bins)
    for start, responses in _band_passes(bins, seconds, CPU):
        total[start : start + responses.shape[1]] += responses.sum(dim=0)
    hertz = torch.arange(bins) / seconds
    inside = (hertz >= RATES_HZ[0]) & (hertz <= RATES_HZ[-1])
    torch.testing.assert_close(total[inside], torch.ones(int(inside.sum())))
    assert (total <= 1.0 + 1e-5).all()


@pytest.mark.parametrize("signed", [True, False])
def test_octaves_share_out_all_cycles_once(signed: bool) -> None:
    gathered = _octaves(MELS, SCALES, signed, CPU)
    assert torch.equal(gathered.sum(dim=0), torch.ones(MELS))


@given(st.integers(0, 2**32 - 1), st.integers(251, 700))
@settings(max_examples=15, deadline=None)
def test_any_bands_give_finite_numbers_of_the_stated_sizes_alone_as_in_a_batch(
    seed: int, frames: int
) -> None:
    bands = torch.rand(3, MELS, frames, generator=torch.Generator().manual_seed(seed))
    bands[0] = 0.0
    bands[1, :WINDOW] = 1.0
    together = modulations(bands, FRAME_S)
    for part, (_, size) in zip(together, modulation_sizes(MELS), strict=True):
        assert part.flatten(1).shape == (3, size)
        assert torch.isfinite(part).all()
    for row in range(3):
        for part, alone in zip(together, modulations(bands[row : row + 1], FRAME_S), strict=True):
            torch.testing.assert_close(part[row : row + 1], alone, rtol=0, atol=1e-4)


def test_the_first_block_holds_pairs_of_bands() -> None:
    assert modulation_sizes(MELS)[0] == ("modulation", BANDS * len(RATES_HZ))
