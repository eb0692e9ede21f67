"""Where protobuf and gRPC stop.

consumers.py             FIRINGS, PROFILES, RECEIPTS ─► intake, receiving
translate.py             events to and from protobuf
vocabulary.py            enums of the contract ⇄ ours
evaluator.py             what the dispatcher asks the evaluator
inbox_news.py            INBOX, by core NATS
notification_service.py, preference_service.py, partner_service.py, delivery_service.py, template_service.py,
suppression_service.py   the RPCs
destinations.py          the part of preference_service.py about browsers and webhook endpoints
retrying.py, dead_letters.py, ledger.py   the parts of delivery_service.py about trying again, about what could not be
                         taken in, and about the books
timeline.py              the part of notification_service.py about what happened
webhook_events.py        the bodies of webhooks, as REST shows them
paging.py                page tokens
"""
