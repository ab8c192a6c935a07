"""What people look at: tables, checks and numbers of compiled graphs."""
