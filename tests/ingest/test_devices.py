"""Where a worker computes: what is asked, what is there, and what is said about it."""

import importlib.util
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from features.errors import BadInput
from ingest import devices
from ingest.devices import Device, choose_device, decoding_fault
from ingest.encoders.signal import SignalEncoder
from ingest.failures import MediaRefused
from ingest.media.decode import DecodeSettings
from ingest.media.nvdec_rung import load_torchcodec, read_frames
from ingest.media.probe import Limits, probe


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch saw a GPU; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Test GPU")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_cpu_is_taken_when_asked_for_even_beside_a_gpu(one_gpu: None) -> None:
    assert choose_device("cpu") == Device("cpu", "cpu", "it was asked for")


def test_auto_without_a_gpu_is_the_cpu_and_one_line_says_so(
    no_gpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger=devices.__name__):
        device = choose_device("auto")
    assert (device.name, device.decoder) == ("cpu", "cpu")
    assert [record.getMessage() for record in caplog.records] == [
        f"device asked=auto chosen=cpu decoder=cpu why='torch {torch.__version__} sees no GPU'"
    ]


def test_cuda_without_a_gpu_is_refused_with_what_is_there_and_what_to_do(no_gpu: None) -> None:
    with pytest.raises(BadInput, match=r"sees 0 GPUs; run where nvidia-smi lists one, or ask for 'auto'"):
        choose_device("cuda")


@pytest.mark.parametrize("asked", ["", "gpu", "cuda:9", "CUDA"])
def test_another_word_is_refused_with_the_words_that_are_known(asked: str) -> None:
    with pytest.raises(BadInput, match="is not one of auto, cpu, cuda"):
        choose_device(asked)


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_a_gpu_that_decodes_is_used_for_both(
    one_gpu: None, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(devices, "decoding_fault", lambda device: "")
    assert choose_device(asked) == Device("cuda", "nvdec", "Test GPU embeds and decodes")


def test_a_gpu_that_cannot_decode_still_embeds_and_the_reason_is_told(
    one_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "decoding_fault", lambda device: "no engine")
    device = choose_device("auto")
    assert (device.name, device.decoder) == ("cuda", "cpu")
    assert "no engine" in device.why


@pytest.fixture
def torchcodec_is_absent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.delitem(sys.modules, "decord", raising=False)
    monkeypatch.setattr(importlib, "import_module", absent)
    decoding_fault.cache_clear()
    yield
    decoding_fault.cache_clear()


def test_a_missing_torchcodec_is_a_sentence_with_the_next_step(torchcodec_is_absent: None) -> None:
    assert "install reelrank[gpu] and ffmpeg" in decoding_fault("cuda")


def test_frames_asked_of_a_missing_torchcodec_name_the_next_step_and_blame_no_file(
    make_clip: Callable[..., Path], torchcodec_is_absent: None
) -> None:
    path = make_clip()
    found = probe(path, Limits())
    with pytest.raises(BadInput, match=r"install reelrank\[gpu\] and ffmpeg") as raised:
        read_frames(path, found, DecodeSettings(), "cuda")
    assert not isinstance(raised.value, MediaRefused)


class Fallback:
    """What torchcodec says of a decoder that fell back to the CPU."""

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return "NVcuvid unavailable"


def torchcodec_with(monkeypatch: pytest.MonkeyPatch, grey: float, fallback: object) -> None:
    """In torchcodec's place, decoders whose frames all have one grey."""
    batch = SimpleNamespace(data=torch.full((len(devices.GREYS), 8, 8, 3), grey))
    decoder = SimpleNamespace(cpu_fallback=fallback, get_frames_at=lambda places: batch)
    module = SimpleNamespace(VideoDecoder=lambda source, **options: decoder)
    monkeypatch.setattr(devices, "load_torchcodec", lambda: module)
    decoding_fault.cache_clear()


def test_an_engine_that_gives_wrong_pictures_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    torchcodec_with(monkeypatch, 100.0, None)
    assert decoding_fault("cuda") == "a test clip's greys came back off by 130 of 255"
    decoding_fault.cache_clear()


def test_a_silent_fall_back_to_the_cpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    torchcodec_with(monkeypatch, 100.0, Fallback())
    assert "NVcuvid unavailable" in decoding_fault("cuda")
    decoding_fault.cache_clear()


def test_decord_in_the_process_keeps_torchcodec_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", SimpleNamespace())
    with pytest.raises(BadInput, match="a process without decord"):
        load_torchcodec()


@pytest.fixture(scope="module")
def other_process() -> Iterator[Executor]:
    """A fresh interpreter, as this one may hold decord."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is None, reason="torchcodec is not installed")
def test_the_trial_clip_can_be_decoded_wherever_torchcodec_finds_ffmpeg(other_process: Executor) -> None:
    fault = other_process.submit(decoding_fault, "cpu").result()
    if "FFmpeg" in fault or "Could not load" in fault:
        pytest.skip(fault)
    assert fault == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_torch_cannot_reach_is_a_fault_and_no_crash(other_process: Executor) -> None:
    fault = other_process.submit(decoding_fault, "cuda").result()
    assert "torchcodec failed on a sound clip" in fault or "needs torchcodec" in fault


def test_an_encoder_of_an_unknown_device_says_so() -> None:
    with pytest.raises(BadInput, match="device 'gpu' is not one of cpu, cuda"):
        SignalEncoder(device="gpu")
