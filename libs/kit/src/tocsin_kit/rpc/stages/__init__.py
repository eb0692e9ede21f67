"""What happens to a call on its way to the servicer, a file each; `server.GrpcServer` lists them in order."""
