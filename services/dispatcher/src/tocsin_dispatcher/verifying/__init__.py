"""Proving an address: a code goes to it, and comes back from who reads there.

verifications.py  asked for ─► counted ─► a delivery with purpose `verification`; typed ─► compared
limits.py         how many on a day, and to which countries
codes.py          six digits: made, hashed, sealed
composing.py      a channel's messages with the code opened at the last moment
"""
