"""The clients of others, unmodified: they meet the sandbox where they look for the networks."""
