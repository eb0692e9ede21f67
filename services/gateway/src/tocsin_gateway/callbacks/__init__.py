"""Providers' callbacks: verify → store with its outbox row in one transaction → 2xx → the relay hands it on.

1. `signatures.py` says whether a provider sent it: SendGrid's ECDSA, Twilio's HMAC.
   `unsubscribing.py`: the links in our e-mails, which carry their own.
2. `receiving.py` is the one path for all: bounded body, signature, `store/callbacks.py`, then 204.
3. The kit's relay publishes the outbox row on `tocsin.receipts.<provider>`; the dispatcher applies it.
4. `handing_on.py` asks the dispatcher now and then what it has not heard of, and hands that on again.

Cannot be stored → 503, so that the provider sends it again; nothing is parsed here that could fail later.
"""
