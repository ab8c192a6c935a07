"""What a plan is made for: boards, options, and the cost model."""
