"""What is measured: a module for each kind of work, whose `rows` are lines of the table."""
