"""What the HTTP service is made of, one file a question."""
