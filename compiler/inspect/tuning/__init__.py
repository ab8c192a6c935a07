"""Choose between plans by time on a device, and fit the cost model to what was timed."""
