"""Take a module to the compiler's graph: snapshot, trace, import."""
