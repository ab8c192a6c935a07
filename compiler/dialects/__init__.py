"""What an op is, in each dialect."""
