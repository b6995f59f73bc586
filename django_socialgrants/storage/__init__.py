"""How things are kept: encrypted columns, the time by the database's clock, and the change of keys."""
