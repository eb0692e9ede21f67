"""Runs the gateway from the environment."""

from tocsin_gateway.app import gateway
from tocsin_gateway.settings import GatewaySettings
from tocsin_kit.lifecycle import main

if __name__ == "__main__":
    main(gateway, GatewaySettings, "gateway")
