"""Beat times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Beats, Tempo
from pipeline.estimators.base import Recording
from pipeline.estimators.onsets import FRAME_RATE, Onsets, rhythm_onsets
from pipeline.estimators.pulse import clarity, on_beats, readings
from pipeline.estimators.tracking import local_tempo, refine, track

AUDIBLE_ONSET = 0.2


class BeatsEstimator:
    """Tracks beats at the tempo found before, following its drift, on the drums and the mix together."""

    name = "beats"
    method = "dynamic programming over onset strength with a locally followed tempo"
    version = "1"

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Beats:
        """Place beats at the level of the metre that the tempo estimator chose.

        Args:
            recording: the mix and its stems.
            found: ``tempo`` is used where it was estimated; otherwise a tempo is sought here.

        Returns:
            Beats, empty where there is no tempo.
        """
        onsets, source = rhythm_onsets(recording)
        rated = readings(onsets)
        tempo = found.get("tempo")
        own = rated[0].pulse.bpm if rated else None
        bpm = tempo.bpm if isinstance(tempo, Tempo) else own
        times, confidence = np.zeros(0), 0.0
        if bpm is not None:
            accents = onsets.accents
            beats = _sounding(refine(accents, track(accents, local_tempo(accents, bpm))), onsets)
            times = np.clip(beats / FRAME_RATE, 0.0, recording.mix.duration_s)
            if len(beats) > 1:
                clear = clarity(rated, recording.mix.duration_s)
                confidence = clear * on_beats(onsets.presence, beats)
        return Beats(
            method=self.method,
            version=self.version,
            source=source,
            times_s=[round(float(time), 4) for time in times],
            confidence=round(confidence, 3),
        )


def _sounding(beats: npt.NDArray[np.float64], onsets: Onsets) -> npt.NDArray[np.float64]:
    """Drop the beats before the first onset and after the last: nobody taps along with silence."""
    heard = np.flatnonzero(onsets.presence > AUDIBLE_ONSET)
    if not len(heard) or len(beats) < 2:
        return beats[:0]
    half = float(np.median(np.diff(beats))) / 2
    return np.asarray(beats[(beats >= heard[0] - half) & (beats <= heard[-1] + half)])
