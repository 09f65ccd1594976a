"""Neural networks in a browser tab, from Python."""
