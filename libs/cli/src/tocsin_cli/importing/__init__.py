"""`tocsin import`: what a bank exports becomes facts.

::

    opening ──► a file's bytes, unzipped; which format it is; its text
       │
       ├─ CSV    guessing ──► mapping ──► csv_file ─┐   guessing: sampling, choosing (headings), style
       ├─ OFX, QFX                        ofx_file ─┼─► rows (a line and its fact, or why the line is refused)
       └─ our facts, JSON lines         facts_file ─┘
                                                    │   records; days, amounts, texts: what stands in a cell
       ordering, identity (oldest first; ids that  ◄┤
                  every run gives again, repeats)   │
       checking (the contract's rules, by line)    ◄┘
                                                    │
    running ──► batches (portions, lanes) ──► sending (gRPC) ──► reporting (tables, the file of refused rows)
                                                 │
                                            remembering (what is done, for the next run)

Everything is read and checked before the first row is sent. Start reading at `running`.
"""
