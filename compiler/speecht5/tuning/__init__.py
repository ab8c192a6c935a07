"""Tune a SpeechT5: which plans there are, whether their numbers are right, and how long a run takes."""
