"""Values, nodes and graphs: frozen data that knows no dialect."""
