"""The dispatcher: from a firing to a receipt.

```
FIRINGS ─► doors ─► intake ─► notification + planned deliveries      (one transaction a batch)
                                    │ due_at
             ┌──────────────────────▼───────────────────────────────────────────┐
             │ delivering: claim ─► gate ─► attempt written ─► call ─► outcome  │──► providers
             └──────▲───────────────────────────────────────────────────────────┘        │
                    └── held, retry, unknown, lease: rows with a time                    ▼
RECEIPTS ─► doors ─► receipts (read) ─► receiving (applied, once, in any order) ◄── callbacks
```

1. `doors/consumers.py` decodes a batch; `intake/intake.py` writes it: once per firing, however often it comes.
2. `planning/plan.py` says which deliveries exist; `intake/facts.py` lets one purchase be told once.
3. `delivering/lane.py` claims what is due on a channel; `delivering/gatekeeper.py` asks `planning/gate.py` before every
   attempt and writes the attempt before its call; `delivering/way.py` composes (`channels/`, `rendering/`) and calls
   (`providers/`); `delivering/recorder.py` writes what came of it, by `retries.py`.
4. `receiving/callbacks.py` applies what providers say later.
5. `destinations/` keeps the browsers and endpoints that people and banks register.
6. `verifying/` proves addresses by codes, which leave as every message does.
7. `timeline/` tells what happened to a notification; `store/history.py` writes down what is in no other table.
8. `auditing/` proves that nothing is lost, and forgets what is old.

`values/`, `states.py`, `reasons.py`, `breakers.py`, `paces.py`, `retries.py`, `text.py`, `provider_text.py` and
`planning/` are pure; SQL lives in `store/`; `ways.py` makes the chains of providers that the settings name,
`app.py` wires it all. Start reading in `intake/intake.py`, then `delivering/lane.py`.
"""
