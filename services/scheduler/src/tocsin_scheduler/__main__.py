"""Runs the scheduler from the environment."""

from tocsin_kit.lifecycle import main
from tocsin_scheduler.app import scheduler
from tocsin_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    main(scheduler, SchedulerSettings, "scheduler")
