"""Templates of the banks: versions that override the built-in ones, rendered where they can harm nobody.

    choosing.py    which version a reader gets: exact locale ─► language ─► the bank's default ─► none (the built-in)
    active.py      the versions in force, of many banks in one statement, followed within a second
    children.py    a pool of child processes; one that hangs or dies is replaced, the others go on
    child.py       what runs in a child: little memory, no files, no environment
    sandbox.py     what a template may do there
    quarantine.py  a template that fails again and again is not tried for a while
    wording.py     a bank's words for a message, or none: whatever goes wrong, the built-in ones are told
    failures.py    what failed at send time: counted, noted on its version, barred for a while
    checking.py    what a version must do before it is activated
    examples.py    what the checks and previews tell
    versions.py    what a bank does with its versions
    trials.py      a version sent to one of the bank's users
    push_tests.py  a test of a browser, in its reader's language
    words.py       each channel's messages in a bank's words, or of a trial
    composing.py   a channel's messages of those, and the built-in ones where there are none

`child.py` and `sandbox.py` import nothing of ours: a child starts quickly, and holds nothing worth stealing.
"""
