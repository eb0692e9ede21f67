"""The worker: a lane per channel, from a due row to an outcome.

    lane.py       claims what is due, per class, while there are slots; gives back what it may not begin
      └► batch.py   a claimed batch: what was lost, what nobody knows, what may leave
           ├► gatekeeper.py  one transaction: gate, tokens, attempts written before their calls; aside.py the others
           │    candidates.py  each claim with all that is known of its recipient
           │    digesting.py   what leaves together as one, and what a digest tells still
           │    tokens.py      rate limit tokens for a batch
           ├► way.py         where a channel's messages go, and one call; what is sent is a composer's
           └► look_ups.py    what became of an SMS nobody answered for
      └► recorder.py  outcomes in batches, one transaction each
    shares.py         how many slots one webhook endpoint, or one browser, may use
    breaker_board.py  circuit breakers and paces, shared with the other replicas

No transaction is open during a call. Start reading in `lane.py`.
"""
