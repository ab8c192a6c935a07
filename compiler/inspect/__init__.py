"""Show compiled graphs: tables, checks and numbers."""
