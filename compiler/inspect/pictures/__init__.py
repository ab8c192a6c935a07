"""Draw compiled graphs: as data, by Graphviz, and in the format of Google's Model Explorer."""
