"""Tables and statements: where SQLAlchemy stops.

Lock order everywhere: schedules by name, then runs, then jobs. Nobody waits for a row of the outbox.
"""
