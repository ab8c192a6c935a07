"""Boards, plan options, and the cost model."""
