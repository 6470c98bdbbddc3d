"""What makes decoding faster."""
