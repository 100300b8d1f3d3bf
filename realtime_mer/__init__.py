"""Live music emotion recognition: valence and arousal of the music being played, with intervals."""

__version__ = "0.1.0"
