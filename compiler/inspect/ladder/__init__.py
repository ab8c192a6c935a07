"""Compare a compiled model's numbers level by level, from single ops up, and find the first node that is wrong."""
