"""Taking firings and profiles in, each batch in one transaction.

    intake.py      a batch of firings ─► notifications, planned deliveries, raised inboxes, events
    facts.py       two deliveries that would tell the same purchase: settled before they are written
    profiles.py    a batch of profiles ─► contacts; what waited for them is released
    dead_letters.py  what cannot be taken in, kept with its bytes, and what came of trying it again

The doors' consumers decode messages and call this; a message is acknowledged when the commit is done.
"""
