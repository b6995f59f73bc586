"""The machinery of a refresh: who may do it, what is sent, and how the outcome is written down."""
