"""Text to speech with SpeechT5: the one room that knows it."""
