"""Run commands one after the other, and put what they say into one folder, for others to read."""
