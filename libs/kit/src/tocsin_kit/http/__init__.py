"""HTTP: `serve.HttpServer` runs an ASGI app in our event loop; `admin.AdminServer` is every service's admin port."""
