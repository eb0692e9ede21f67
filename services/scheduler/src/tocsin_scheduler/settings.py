"""What the environment may say to the scheduler."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from tocsin_kit.settings import Port, ServiceSettings


class SchedulerSettings(ServiceSettings):
    """The scheduler's own settings, beside those of every service."""

    grpc_port: Port = Field(50051, validation_alias="TOCSIN_GRPC_PORT", description="gRPC port; 0 takes a free one")
    admin_port: Port = Field(9101, validation_alias="TOCSIN_ADMIN_PORT", description="port of health and metrics")
    job_max_attempts: int | None = Field(
        None, ge=1, validation_alias="JOB_MAX_ATTEMPTS", description="attempts of a job; default 3, periodic 2"
    )
    worker_concurrency: int | None = Field(
        None,
        ge=1,
        validation_alias="WORKER_CONCURRENCY",
        description="jobs side by side; default by class",
    )
    keep_finished_jobs: timedelta = Field(
        timedelta(days=7), validation_alias="TOCSIN_KEEP_FINISHED_JOBS", description="how long ended jobs are kept"
    )
    keep_dead_jobs: timedelta = Field(
        timedelta(days=90), validation_alias="TOCSIN_KEEP_DEAD_JOBS", description="how long dead jobs are kept"
    )
