"""The media: what a message must be to travel on each.

    email.py    one recipient, subject without control characters, a link to stop it
    sms.py      cut to the segments the partner allows, with its price
    push.py     short enough to be sent encrypted
    webhook.py  the notification as REST shows it
    in_app.py   rendered at intake, never changed

A channel knows its medium; a provider (`providers/`) knows an API.
"""
