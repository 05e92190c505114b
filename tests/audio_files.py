"""Recordings that tests make for themselves, with the real encoders."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio import FloatArray


def music(seconds: float = 2.0, sample_rate: int = 44100, channels: int = 2, seed: int = 7) -> FloatArray:
    """A little groove: a bass line, a chord, a voice-like tone in the centre, and clicks on the beat.

    Returns:
        float32 (channels, samples), peak 0.7.
    """
    rng = np.random.default_rng(seed)
    n = round(seconds * sample_rate)
    t = np.arange(n) / sample_rate
    bass = 0.3 * np.sin(2 * np.pi * 55 * t)
    voice = 0.2 * np.sin(2 * np.pi * 440 * t + 3 * np.sin(2 * np.pi * 5 * t))
    clicks = rng.standard_normal(n) * np.exp(-40 * (t % 0.5)) * 0.3
    out = np.empty((channels, n))
    for channel in range(channels):
        chord = sum(np.sin(2 * np.pi * hz * t + channel) for hz in (261.6, 329.6, 392.0))
        out[channel] = bass + voice + clicks + 0.1 * chord
    return np.asarray(0.7 * out / np.abs(out).max(), dtype=np.float32)


def write_wav(path: Path, samples: FloatArray, sample_rate: int = 44100, subtype: str = "PCM_24") -> Path:
    """Write float32 (channels, samples) as a WAV file."""
    soundfile.write(path, samples.T, sample_rate, subtype=subtype)
    return path


def convert(source: Path, target: Path, *arguments: str) -> Path:
    """Run ffmpeg from one file to another."""
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, *arguments, target], check=True)
    return target


def decoded(path: Path, channels: int) -> FloatArray:
    """What an independent player hears: float32 (channels, samples)."""
    said = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-f", "f32le", "-ac", str(channels), "-"],
        check=True,
        capture_output=True,
    )
    return np.frombuffer(said.stdout, dtype="<f4").reshape(-1, channels).T
