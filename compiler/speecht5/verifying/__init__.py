"""Compare a compiled SpeechT5 with Hugging Face's modules in the same run, from attention blocks to sound."""
