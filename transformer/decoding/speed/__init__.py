"""What makes decoding fast and changes no result."""
