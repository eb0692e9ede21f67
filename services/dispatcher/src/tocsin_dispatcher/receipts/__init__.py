"""What providers say later: the raw bytes of a callback ─► typed receipts. Pure; nothing is looked up or written here.

    parse.py        which reader a callback belongs to
    sendgrid.py     the event webhook: an array of events of many messages
    twilio.py       a message's status, and what people send back (STOP, START)
    unsubscribe.py  the one-click link of an e-mail

One bad event of a batch never costs the others: what cannot be read comes back as `Unreadable`.
"""
