"""What the uploader says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, object]] = {
    "call": "Drop recordings here, or choose files",
    "types": "WAV, FLAC, MP3, M4A, Ogg, Opus, AIFF, or the sound of a video.",
    "most": "Up to {largest} each.",
    "no_folders": "Folders cannot be sent. Drop the files in them.",
    "unreachable": "The service cannot be reached from this browser. Trying again.",
    "refused": "The service refused the file (HTTP {status}).",
    "not_allowed": "You may not send recordings, or are signed out. Sign in again.",
    "progress": "{percent} % · {speed}/s · {left} left",
    "interrupted": "Interrupted at {percent} %. Choose the file again to go on from there.",
    "states": {
        "waiting": "Waiting for its turn",
        "uploading": "{percent} %",
        "retrying": "Connection lost. Trying again, from where it stopped.",
        "submitting": "Sent. Starting the job.",
        "done": "Sent. The job has begun.",
        "collected": "Sent. Its job begins when there is room.",
        "gone": "Cancelled",
    },
    "problems": {
        "file_empty": "This file is empty.",
        "file_too_large": "This file is too large. A recording may have up to {largest}.",
        "file_unreadable": "This file was changed or moved. Choose it again.",
    },
    "seconds": "{n} seconds",
    "one_minute": "a minute",
    "minutes": "{n} minutes",
    "hours": "{n} hours",
    "open": "Open",
    "again": "Try again",
    "cancel": "Cancel",
    "remove": "Remove",
    "discard": "Discard",
}
"""Sentences by name; ``{name}`` is filled in by the browser."""
