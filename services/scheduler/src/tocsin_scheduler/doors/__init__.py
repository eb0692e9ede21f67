"""gRPC servicers and the consumer of job events: where protobuf stops."""
