"""The fault matrix: what a provider answers x the way a message leaves x what dies, and where the worker stands then.

```
cells.py     what there is to try: ways, answers, steps, blows, and the rounds they are tried in (pure)
answers.py   each answer as an order to a simulator, and what should become of the message (pure)
people.py    a person for each cell, with one alert that tells them by one way
world.py     PostgreSQL, NATS, the services and the simulators as processes of its own
barriers.py  locks in PostgreSQL at which the dispatcher stands until they are lifted: so it is killed at that very step
rounds.py    a round: orders, facts posted, the worker at its step, the blow, everything up again, every cell at its end
records.py   what the databases and the simulators say afterwards
judging.py   what of it is lost, repeated, repeated without a mark, or not as expected (pure)
table.py     the table and the line of JSON
command.py   `python -m tests.chaos`
```

Nothing here is known to the product: no switch, no hook. A cell is one person with one firing; the cells of a round run
side by side, and each is judged alone. E-mail leaves by one provider in a world, so there are two worlds side by side.
"""
