"""The `tocsin` command.

::

    __main__ ─► app.make_app ─► commands/   one file per command, and whatever plug-ins add
                                   │
                                   ├─ importing/  bank exports into facts, for `tocsin import`
                                   ├─ calls       a channel to a service with an operator's or a bank's token
                                   ├─ services    the four services: settings, database, migrations
                                   └─ show, times, choices    tables out, words in

Plug-ins are entry points of the group `tocsin.commands`: functions that take the typer app and add to it.
"""
