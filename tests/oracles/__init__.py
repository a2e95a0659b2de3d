"""What the library is checked against: NumPy only, nothing of the library's own."""
