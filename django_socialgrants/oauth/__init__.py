"""What RFC 6749 says, as values and pure functions: no Django, no network, no clock."""
