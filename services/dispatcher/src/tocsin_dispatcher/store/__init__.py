"""Tables and statements: where SQLAlchemy stops.

`tables` holds the schema. Each other module holds the statements of one part of the business, one function per
statement, with a comment on its index and its lock order. The order of locks, everywhere: counters, unread rows,
deliveries, each by key.
"""
