"""What operators read over HTTP: all services' metrics in one place."""
