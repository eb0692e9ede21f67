"""From a firing's values to words.

    formats.py      money, percents, days and instants in a reader's locale
    variables.py    a context ─► the variables its kind's templates may use
    links.py        where in the bank's app a message leads
    loading.py      templates from the wheel, their CSS inlined once
    renderer.py     kind, context, reader ─► e-mail, SMS and inbox texts

The templates lie in `tocsin_dispatcher/templates/<kind>/`: subject.txt, body.html, body.txt, sms.txt, push.txt,
in_app.txt (first line title, rest message) and example.json, over `layout.html` and `layout.txt`. Each may use its
kind's variables; `title` is the rendered subject.txt and `message` the rest of in_app.txt.
"""
