"""What the front ends share, one file a question."""
