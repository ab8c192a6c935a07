"""Running a compiled graph: the executable, the executor's protocol, the reference executor."""
