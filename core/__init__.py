"""What `mlib` is made of, one file a question."""
