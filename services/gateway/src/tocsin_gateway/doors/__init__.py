"""Where gRPC, NATS and protobuf stop: calls to the other services, the live inbox's sources, jobs, receipts."""
