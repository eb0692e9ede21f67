"""Where protobuf stops: gRPC services, job handlers, and the encoding of events."""
