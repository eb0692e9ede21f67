"""Addresses that people and banks register: browsers for push messages, endpoints for webhooks.

    urls.py               what a URL may look like; where it leads is looked at when it is called (providers/)
    push_keys.py          a browser's URL and keys, sealed and opened
    webhook_secrets.py    the secrets that sign webhooks, sealed and opened
    browsers.py           a user's push subscriptions: added, listed, removed, tried
    endpoints.py          webhook endpoints of a user or a bank: added, listed, removed, given new secrets, tried
    reading.py            where a batch of deliveries goes, at the gate

Start reading in `endpoints.py`.
"""
