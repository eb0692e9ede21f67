"""Runs the `tocsin` command."""

from tocsin_cli.app import make_app, plugins


def main() -> None:
    """Entry point of the `tocsin` script."""
    make_app(plugins())()


if __name__ == "__main__":
    main()
