"""The classes behind `admin`: what staff see and may do, never a secret."""
