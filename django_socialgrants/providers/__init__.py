"""What each network says: one file per network, pure like `oauth`."""
