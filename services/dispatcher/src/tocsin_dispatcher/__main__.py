"""Runs the dispatcher from the environment."""

from tocsin_dispatcher.app import dispatcher
from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_kit.lifecycle import main

if __name__ == "__main__":
    main(dispatcher, DispatcherSettings, "dispatcher")
