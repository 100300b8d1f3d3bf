"""Scenes: rules that let the outputs do something when the music is of some kind."""
