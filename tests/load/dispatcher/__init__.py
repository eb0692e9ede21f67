"""What is measured of the dispatcher (the delivery page, "Budgets").

provider.py    a bare provider in a process of its own: takes calls, answers after 50 ms, says who called when
driving.py     what a suite has in hand: that provider, the tables filled, calls of its own at a pace, processes' CPU
draining.py    what is pending leaves: e-mails, and webhooks while one endpoint hangs
taking_in.py   firings become notifications and planned deliveries
leading.py     from a fact that is posted to the provider that is called, alone and behind a backlog
"""
