"""Everything that can go wrong, as one tree.

::

    PipelineError
    ├── ConfigError                 the request asks for something that does not exist
    │   ├── ModelUnknown            model_unknown
    │   ├── StemUnknown             stem_unknown
    │   ├── FormatUnsupported       format_unsupported
    │   ├── EstimatorUnknown        estimator_unknown
    │   ├── ExportUnknown           export_unknown
    │   ├── OptionInvalid           option_invalid
    │   ├── DeviceUnavailable       device_unavailable
    │   └── LicenceRefused          licence_refused
    ├── InputError                  the recording cannot be used as it is
    │   ├── InputNotFound           input_not_found
    │   ├── InputNotAFile           input_not_a_file
    │   ├── InputUnreadable         input_unreadable
    │   ├── InputChanged            input_changed
    │   ├── InputEmpty              input_empty
    │   ├── InputTooLarge           input_too_large
    │   ├── InputIsWebPage          input_is_web_page
    │   ├── InputIsPlaylist         input_is_playlist
    │   ├── InputNotAudio           input_not_audio
    │   ├── AudioMissing            audio_missing
    │   ├── AudioEncrypted          audio_encrypted
    │   ├── AudioCodecUnsupported   audio_codec_unsupported
    │   ├── AudioHeaderOnly         audio_header_only
    │   ├── AudioUndecodable        audio_undecodable
    │   ├── AudioTruncated          audio_truncated
    │   ├── AudioHeaderMismatch     audio_header_mismatch
    │   ├── AudioTooShort           audio_too_short
    │   ├── AudioTooLong            audio_too_long
    │   ├── AudioSilent             audio_silent
    │   ├── AudioNotFinite          audio_not_finite
    │   ├── AudioLevelInvalid       audio_level_invalid
    │   ├── SampleRateUnsupported   sample_rate_unsupported
    │   ├── ChannelsUnsupported     channels_unsupported
    │   └── DecodeTimeout           decode_timeout
    ├── WeightsError                a model's weights cannot be had or trusted
    │   ├── WeightsUnavailable      weights_unavailable   (retryable)
    │   └── WeightsCorrupt          weights_corrupt       (retryable)
    ├── EnvironmentFailure          the machine lacks something
    │   ├── ToolMissing             tool_missing
    │   ├── ToolFailed              tool_failed           (retryable)
    │   ├── DiskFull                disk_full             (retryable)
    │   ├── OutputUnwritable        output_unwritable     (retryable)
    │   └── MemoryExhausted         memory_exhausted      (retryable)
    ├── EstimatorFailed             estimator_failed: kept in the manifest, never fails a job
    ├── EstimatorTimeout            estimator_timeout: likewise
    ├── LyricsUnavailable           lyrics_unavailable: likewise
    ├── ManifestInvalid             manifest_invalid
    └── Cancelled                   cancelled

A leaf's ``code`` is part of the public contract: it never changes once released.
"""

from __future__ import annotations

from typing import ClassVar


class PipelineError(Exception):
    """Base of every error that the pipeline raises on purpose.

    Attributes:
        code: stable identifier for programs, ``snake_case``.
        retryable: whether the same request can succeed later without a change.
        message: what is wrong, in plain words, one sentence.
        hint: what to do about it, in plain words; may be empty.
    """

    code: ClassVar[str] = "pipeline_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(PipelineError):
    """The request asks for something that does not exist or is not allowed."""

    code = "config_error"


class ModelUnknown(ConfigError):
    """No model of that name is registered."""

    code = "model_unknown"


class StemUnknown(ConfigError):
    """The chosen model has no stem of that name."""

    code = "stem_unknown"


class FormatUnsupported(ConfigError):
    """The output format is unknown, or cannot hold this recording."""

    code = "format_unsupported"


class EstimatorUnknown(ConfigError):
    """No estimator of that name is registered."""

    code = "estimator_unknown"


class ExportUnknown(ConfigError):
    """No export of that name is registered."""

    code = "export_unknown"


class OptionInvalid(ConfigError):
    """An option has a value outside its range, or two options exclude each other."""

    code = "option_invalid"


class DeviceUnavailable(ConfigError):
    """The requested compute device is not on this machine."""

    code = "device_unavailable"


class LicenceRefused(ConfigError):
    """``commercial_only`` is set and the model's weights are for research only."""

    code = "licence_refused"


class InputError(PipelineError):
    """The recording cannot be used as it is."""

    code = "input_error"


class InputNotFound(InputError):
    """There is no file at that path."""

    code = "input_not_found"


class InputNotAFile(InputError):
    """The path names a folder, device, socket or pipe."""

    code = "input_not_a_file"


class InputUnreadable(InputError):
    """The operating system refuses to read the file."""

    code = "input_unreadable"


class InputChanged(InputError):
    """The file does not have the hash that it should have."""

    code = "input_changed"


class InputEmpty(InputError):
    """The file has no bytes."""

    code = "input_empty"


class InputTooLarge(InputError):
    """The file has more bytes than allowed."""

    code = "input_too_large"


class InputIsWebPage(InputError):
    """The file is HTML: usually an expired download link."""

    code = "input_is_web_page"


class InputIsPlaylist(InputError):
    """The file points at other files instead of holding audio."""

    code = "input_is_playlist"


class InputNotAudio(InputError):
    """The bytes are no supported audio or video container."""

    code = "input_not_audio"


class AudioMissing(InputError):
    """The container holds no audio track (video only, pictures only)."""

    code = "audio_missing"


class AudioEncrypted(InputError):
    """The audio track is encrypted or carries DRM."""

    code = "audio_encrypted"


class AudioCodecUnsupported(InputError):
    """The container is known but its audio codec is not."""

    code = "audio_codec_unsupported"


class AudioHeaderOnly(InputError):
    """A valid header, and no audio behind it."""

    code = "audio_header_only"


class AudioUndecodable(InputError):
    """The decoder produced no samples."""

    code = "audio_undecodable"


class AudioTruncated(InputError):
    """The file ends before the length that its header states."""

    code = "audio_truncated"


class AudioHeaderMismatch(InputError):
    """The header states a length that the file cannot have."""

    code = "audio_header_mismatch"


class AudioTooShort(InputError):
    """Fewer samples than can be separated."""

    code = "audio_too_short"


class AudioTooLong(InputError):
    """More audio than allowed, counted after decoding."""

    code = "audio_too_long"


class AudioSilent(InputError):
    """Every sample is (nearly) zero."""

    code = "audio_silent"


class AudioNotFinite(InputError):
    """The file contains NaN or infinite samples."""

    code = "audio_not_finite"


class AudioLevelInvalid(InputError):
    """Finite samples far outside full scale: not audio in -1..1."""

    code = "audio_level_invalid"


class SampleRateUnsupported(InputError):
    """Sample rate outside 8-192 kHz."""

    code = "sample_rate_unsupported"


class ChannelsUnsupported(InputError):
    """No channel, or more than eight."""

    code = "channels_unsupported"


class DecodeTimeout(InputError):
    """Reading the file took longer than allowed."""

    code = "decode_timeout"


class WeightsError(PipelineError):
    """A model's weights cannot be had or trusted."""

    code = "weights_error"


class WeightsUnavailable(WeightsError):
    """No source of the weights could be reached."""

    code = "weights_unavailable"
    retryable = True


class WeightsCorrupt(WeightsError):
    """The bytes do not match the registered hash."""

    code = "weights_corrupt"
    retryable = True


class EnvironmentFailure(PipelineError):
    """The machine lacks something that the job needs."""

    code = "environment_failure"


class ToolMissing(EnvironmentFailure):
    """A required program is not installed."""

    code = "tool_missing"


class ToolFailed(EnvironmentFailure):
    """A required program crashed or refused our own data."""

    code = "tool_failed"
    retryable = True


class DiskFull(EnvironmentFailure):
    """No space, quota or inodes left."""

    code = "disk_full"
    retryable = True


class OutputUnwritable(EnvironmentFailure):
    """The output folder cannot be created or written."""

    code = "output_unwritable"
    retryable = True


class MemoryExhausted(EnvironmentFailure):
    """Memory ran out on the host or the device."""

    code = "memory_exhausted"
    retryable = True


class EstimatorFailed(PipelineError):
    """One estimator could not give an answer; the job goes on."""

    code = "estimator_failed"


class EstimatorTimeout(PipelineError):
    """An estimator used up its time and was stopped; the job goes on."""

    code = "estimator_timeout"


class LyricsUnavailable(PipelineError):
    """Lyrics were asked for where what hears them is not installed; the job goes on."""

    code = "lyrics_unavailable"


class ManifestInvalid(PipelineError):
    """A manifest is missing, not JSON, or not of a known schema."""

    code = "manifest_invalid"


class Cancelled(PipelineError):
    """The caller asked to stop."""

    code = "cancelled"
