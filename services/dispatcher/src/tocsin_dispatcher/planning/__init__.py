"""Which deliveries exist, and whether one may leave now. All of it pure: values and the time in, a value out.

    plan.py             a firing and a contact ─► the deliveries that carry it
    gate.py             a delivery before an attempt ─► proceed, hold, suppress, merge or expire
      stages/           the gate's stages, one file each, in the order `gate.GATE` lists them
    digests.py          which held messages leave as one, and what that one tells
    same_fact.py        two deliveries about one purchase: which of them speaks
    recheck.py          which deliveries the evaluator is asked about before they leave
    expiry.py           until when a message is of use
    quiet_hours.py      the window in which only critical messages leave
    windows.py          the hour and the local day that rate limits count in
    local_time.py       local times as instants, on days that skip or repeat them too

Start reading in `gate.py`.
"""
