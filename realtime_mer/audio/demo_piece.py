"""The demo's score: four passages of 22.5 s, each with a clear mood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio import synthesis as play
from realtime_mer.audio.synthesis import SAMPLE_RATE_HZ, Mono, pitch

PASSAGE_S = 22.5
TAIL_S = 3.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of the piece.

    Attributes:
        name: the word for its mood.
        start_s, end_s: its position in the piece, in seconds.
        valence, arousal: the signs (-1 or 1) that it is composed to express.
    """

    name: str
    start_s: float
    end_s: float
    valence: int
    arousal: int


PASSAGES = (
    Passage("calm", 0 * PASSAGE_S, 1 * PASSAGE_S, 1, -1),
    Passage("joyful", 1 * PASSAGE_S, 2 * PASSAGE_S, 1, 1),
    Passage("tense", 2 * PASSAGE_S, 3 * PASSAGE_S, -1, 1),
    Passage("sad", 3 * PASSAGE_S, 4 * PASSAGE_S, -1, -1),
)


class Mixer:
    """Mixes sounds to stereo, each at a beat and a stereo position.

    Args:
        beats_per_minute: the tempo.
    """

    def __init__(self, beats_per_minute: float) -> None:
        self._beat_s = 60.0 / beats_per_minute
        n = play.samples(PASSAGE_S + TAIL_S)
        self._dry = np.zeros((2, n), np.float32)
        self._send = np.zeros((2, n), np.float32)

    def seconds(self, beats: float) -> float:
        """Convert beats to seconds."""
        return beats * self._beat_s

    def add(
        self, sound: Mono, beat: float, gain: float, *, pan: float = 0.0, wet: float = 0.3
    ) -> None:
        """Add a sound at a beat (from 0); `pan` from -1 (left) to 1, `wet` is the reverb send."""
        start = play.samples(beat * self._beat_s)
        end = min(start + len(sound), self._dry.shape[1])
        sound = sound[: end - start]
        angle = (pan + 1) * np.pi / 4
        for side, level in enumerate((np.cos(angle), np.sin(angle))):
            self._dry[side, start:end] += np.float32(gain * level) * sound
            self._send[side, start:end] += np.float32(gain * level * wet) * sound

    def spread(self, sound: Mono, beat: float, gain: float, *, wet: float = 0.3) -> None:
        """Add a wide sound: the right channel plays the loop from another position."""
        shifted = np.roll(sound, len(sound) // 2)
        shape = play.envelope(len(sound) / SAMPLE_RATE_HZ, 0.02, 0.02)
        self.add(sound * shape, beat, gain, pan=-0.8, wet=wet)
        self.add(shifted * shape, beat, gain, pan=0.8, wet=wet)

    def mix(
        self, level_db: float, *, reverb_s: float, darkness: float, drive: float = 1.0
    ) -> NDArray[np.float32]:
        """Return the passage with its tail, float32 [2, n], at an RMS level in dBFS. Call once."""
        mixed = self._dry
        play.clear_cache()
        for side in range(2):
            mixed[side] += play.reverb(self._send[side], reverb_s, darkness, side)
        body = mixed[:, : play.samples(PASSAGE_S)]
        loudness = float(np.linalg.norm(body)) / body.size**0.5
        mixed *= np.float32(drive * 10 ** (level_db / 20) / loudness)
        # A soft limiter; with more drive, an overdriven amplifier.
        np.tanh(mixed, out=mixed)
        mixed /= np.float32(drive**0.8)
        return mixed


def calm() -> NDArray[np.float32]:
    """Render 64 beats per minute, C major with sevenths: strings, harp, celesta, distant flute."""
    mixer = Mixer(64)
    chords = (
        ("C3", "G3", "B3", "E4"),
        ("A2", "G3", "C4", "E4"),
        ("F2", "A3", "C4", "E4"),
        ("G2", "G3", "B3", "D4"),
        ("F2", "A3", "C4", "G4"),
        ("C3", "G3", "C4", "E4"),
    )
    for bar, chord in enumerate(chords):
        length = mixer.seconds(4.6)
        for voice, name in enumerate(chord):
            bed = play.pad(pitch(name), length, 0.6, voice) * play.envelope(length, 1.1, 1.6)
            mixer.spread(bed, 4 * bar, 0.09, wet=0.6)
        bass, *upper = chord
        figure = [bass, *upper, _up(upper[1]), *upper[::-1]]
        for step, name in enumerate(figure):
            string = play.pluck(pitch(_up(name)), 2.6, 0.2, 1)
            gain = 0.26 if step % 4 == 0 else 0.18
            mixer.add(string, 4 * bar + step / 2, gain, pan=0.4 - step * 0.1, wet=0.4)
    melody = (
        *((0, 3, "G4"), (3, 1, "E4"), (4, 2, "C5"), (6, 2, "B4")),
        *((8, 3, "A4"), (11, 1, "G4"), (12, 3, "D5"), (15, 1, "B4")),
        *((16, 2, "A4"), (18, 2, "C5"), (20, 4, "G4")),
    )
    for beat, beats, name in melody:
        mixer.add(play.bell(pitch(_up(name)), 2.0, 2.0, 0.8), beat, 0.19, pan=0.15, wet=0.6)
        tone = play.flute(pitch(name), mixer.seconds(beats * 0.97), 3)
        mixer.add(tone, beat, 0.04, pan=-0.15, wet=1.0)
    for moment, name in ((3.5, "E6"), (7.5, "G6"), (15.5, "C6"), (21.0, "E6"), (21.5, "G6")):
        mixer.add(play.bell(pitch(name), 2.5, 2.0, 0.8), moment, 0.035, pan=0.5, wet=1.0)
    return mixer.mix(-21.0, reverb_s=2.6, darkness=0.5)


def joyful() -> NDArray[np.float32]:
    """Render 128 beats per minute, D major: strummed guitar, bass, drums, claps, bright melody."""
    mixer = Mixer(128)
    chords = {
        "D": ("D3", "A3", "D4", "F#4", "A4"),
        "A": ("A2", "E3", "A3", "C#4", "E4"),
        "G": ("G2", "D3", "G3", "B3", "G4"),
        "Bm": ("B2", "F#3", "B3", "D4", "F#4"),
    }
    roots = {"D": "D2", "A": "A1", "G": "G1", "Bm": "B1"}
    bars = ("D", "A", "Bm", "G", "D", "A", "G", "A", "D", "G", "A", "D")
    for bar, chord in enumerate(bars):
        # Down, down-up, up-down-up: a common strumming pattern.
        for place, down in ((0.0, 1), (1.0, 1), (1.5, 0), (2.5, 0), (3.0, 1), (3.5, 0)):
            notes = chords[chord] if down else chords[chord][:1:-1]
            for order, name in enumerate(notes):
                string = play.pluck(pitch(name), 0.9, 0.85, 2)
                gain = (0.15 if down else 0.10) * (1.15 if place in (1, 3) else 1.0)
                mixer.add(string, 4 * bar + place + 0.02 * order, gain, pan=-0.45, wet=0.15)
                octave = play.pluck(pitch(_up(name)), 0.5, 0.9, 3)
                mixer.add(octave, 4 * bar + place + 0.02 * order, gain * 0.6, pan=0.5, wet=0.15)
        for name in chords[chord][1:4]:
            length = mixer.seconds(4)
            organ = play.pad(pitch(_up(name)), length, 0.8, 4) * play.envelope(length, 0.03, 0.1)
            mixer.spread(organ, 4 * bar, 0.05, wet=0.3)
        root = pitch(roots[chord])
        for step, factor in enumerate((1, 2, 1, 2, 1, 2, 1.5, 2)):
            low = play.saw(root * factor, mixer.seconds(0.46), 0.3, 3.0)
            mixer.add(low, 4 * bar + step / 2, 0.30, wet=0.02)
        for beat in range(4):
            mixer.add(play.kick(50, 0.25), 4 * bar + beat, 0.62, wet=0.03)
            mixer.add(play.cymbal(0.07, 8), 4 * bar + beat + 0.5, 0.30, pan=0.3, wet=0.1)
            mixer.add(play.cymbal(0.04, 9), 4 * bar + beat, 0.16, pan=0.3, wet=0.1)
            for late in (0.25, 0.75):
                mixer.add(play.cymbal(0.03, 10), 4 * bar + beat + late, 0.10, pan=-0.3, wet=0.1)
        for beat in (1, 3):
            mixer.add(play.snare(0.22, 0.0, 11), 4 * bar + beat, 0.75, wet=0.35)
            mixer.add(play.snare(0.16, 190.0, 12), 4 * bar + beat, 0.40, wet=0.2)
        if bar % 4 == 0:
            mixer.add(play.cymbal(1.6, 13), 4 * bar, 0.24, pan=-0.2, wet=0.3)
    riff = (
        "F#5 . A5 . D6 . A5 B5 A5 . F#5 . E5 . F#5 . D5 . F#5 . B5 . A5 F#5 G5 . B5 . D6 . C#6 B5"
    )
    turn = (
        "A5 . D6 . F#6 . E6 D6 E6 . C#6 . A5 . B5 C#6 D6 . B5 . G5 . A5 B5 C#6 . E6 . A5 . C#6 E6"
    )
    finale = (
        "F#6 . D6 . A5 . D6 F#6 G6 . D6 . B5 . D6 G6 E6 . C#6 . A5 . C#6 E6 F#6 . D6 . A5 . D6 ."
    )
    tune = f"{riff} {turn} {finale}".split()
    for step, name in enumerate(tune):
        if name != ".":
            mixer.add(play.bell(pitch(name), 0.6, 3.0, 0.9), step / 2, 0.17, pan=0.1, wet=0.35)
            mixer.add(play.pluck(pitch(name), 0.7, 0.9, 5), step / 2, 0.22, pan=0.2, wet=0.3)
    return mixer.mix(-11.0, reverb_s=1.1, darkness=0.2, drive=1.6)


def tense() -> NDArray[np.float32]:
    """Render 160 beats per minute, tritones and semitones: guitars, double bass drum, clusters."""
    mixer = Mixer(160)
    for bar in range(15):
        lift = 2.0 ** (bar // 5 / 12)  # every five bars a semitone higher
        pedal = pitch("C2") * lift
        root = pedal * 2.0 ** ((0, 0, 1, 6)[bar % 4] / 12)
        accents = (0, 3, 6) if bar % 2 == 0 else (0, 3, 5, 7)
        for step in range(8):
            place = 4 * bar + step / 2
            if step in accents:
                chord = (root, root * 2**0.5, root * 2)  # a tritone within the octave
                for pan, seed in ((-0.7, 7), (0.7, 17)):
                    ringing = play.guitar(chord, mixer.seconds(1.4), 0.0, seed)
                    mixer.add(ringing, place, 0.35, pan=pan, wet=0.08)
            else:
                fifth = (pedal, pedal * 1.5)
                for late in (0.0, 0.25):
                    for pan, seed in ((-0.7, 7), (0.7, 17)):
                        chug = play.guitar(fifth, mixer.seconds(0.24), 8.0, seed)
                        mixer.add(chug, place + late, 0.40, pan=pan, wet=0.05)
            low = play.saw(root if step in accents else pedal, mixer.seconds(0.48), 0.4, 2.0)
            mixer.add(low, place, 0.30, wet=0.0)
            mixer.add(play.kick(50, 0.2), place, 0.80, wet=0.05)
            mixer.add(play.kick(50, 0.2), place + 0.25, 0.60, wet=0.05)
        for beat in range(4):
            mixer.add(play.cymbal(0.35, 22), 4 * bar + beat, 0.20, pan=0.4, wet=0.1)
        for beat in (1, 3):
            mixer.add(play.snare(0.22, 180.0, 12), 4 * bar + beat, 0.80, wet=0.2)
        if bar % 5 == 0:
            mixer.add(play.cymbal(1.8, 23), 4 * bar, 0.35, pan=-0.3, wet=0.2)
            mixer.add(play.bell(pedal, 3.5, 1.414, 5.0), 4 * bar, 0.30, wet=0.4)
        length = mixer.seconds(4)
        for voice, name in enumerate(("Gb4", "G4", "C5", "Db5")):
            cluster = play.pad(pitch(name) * lift, length, 1.1, 20 + voice)
            mixer.spread(cluster, 4 * bar, 0.05, wet=0.3)
        for step, name in enumerate(("Db5", "C5", "Gb4", "G4", "Db5", "C5", "B4", "Gb4")):
            cry = play.guitar((pitch(name) * lift,), mixer.seconds(0.5), 0.0, 9)
            mixer.add(cry, 4 * bar + step / 2, 0.05, pan=0.1, wet=0.4)
    return mixer.mix(-10.0, reverb_s=1.2, darkness=0.3, drive=1.8)


def sad() -> NDArray[np.float32]:
    """Render 48 beats per minute, A minor, falling lines: felt piano, dark reverb, low strings."""
    mixer = Mixer(48)
    chords = (
        ("A2", "E3", "C4"),
        ("F2", "C3", "A3"),
        ("D2", "A2", "F3"),
        ("E2", "B2", "G#3"),
        ("F2", "D3", "A3"),
        ("A2", "E3", "C4"),
    )
    for bar, chord in enumerate(chords):
        length = mixer.seconds(3.5)
        for voice, name in enumerate(chord):
            bed = play.pad(pitch(name), length, 0.42, 30 + voice) * play.envelope(length, 1.2, 1.5)
            mixer.spread(bed, 3 * bar, 0.07, wet=0.6)
            key = play.piano(pitch(name), 3.6, 0.1)
            mixer.add(key, 3 * bar + 0.5 * voice, 0.28 - 0.05 * voice, pan=-0.2, wet=0.5)
    melody = (
        *((0, 1.5, "E4"), (1.5, 1, "D4"), (2.5, 0.5, "C4"), (3, 2, "C4"), (5, 1, "B3")),
        *((6, 1.5, "A3"), (7.5, 1, "F4"), (8.5, 0.5, "E4"), (9, 2, "D4"), (11, 1, "B3")),
        *((12, 1, "D4"), (13, 1, "C4"), (14, 1, "B3"), (15, 3, "A3")),
    )
    for beat, beats, name in melody:
        key = play.piano(pitch(name), mixer.seconds(beats) + 1.2, 0.25)
        mixer.add(key, beat + 0.02, 0.40, pan=0.1, wet=0.7)
    return mixer.mix(-27.0, reverb_s=2.8, darkness=0.85)


RENDERERS: dict[str, Callable[[], NDArray[np.float32]]] = {
    "calm": calm,
    "joyful": joyful,
    "tense": tense,
    "sad": sad,
}


def _up(name: str) -> str:
    """Return the name of the note an octave higher."""
    return name[:-1] + str(int(name[-1]) + 1)
