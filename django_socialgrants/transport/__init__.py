"""The one door out: everything that is sent to a network goes through `exchange`, over `connections`."""
