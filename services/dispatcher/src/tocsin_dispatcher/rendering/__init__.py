"""From a firing's values to words.

    formats.py      money, percents, days and instants in a reader's locale
    languages.py    the languages of the built-in texts, from `templates/languages/*.po`
    translating.py  puts them into the templates when those are compiled
    variables.py    a context ─► the variables its kind's templates may use
    digests.py      a digest's firings in groups, with their counts
    links.py        where in the bank's app a message leads
    loading.py      templates from the wheel, their CSS inlined once
    renderer.py     what is told, reader ─► e-mail, SMS, push and inbox texts

The templates lie in `tocsin_dispatcher/templates/<kind>/`: subject.txt, body.html, body.txt, sms.txt, push.txt,
in_app.txt (first line title, rest message) and example.json, over `layout.html` and `layout.txt`; so do those of
`digest/`, `verification/` and `system/`, where a message that never goes to the inbox has message.txt in place of
in_app.txt. Each may use its kind's variables; `title` is the rendered subject.txt and `message` the rest of in_app.txt.
For a reader who has amounts hidden, which only text messages and push know, the variables hold no figure, and these two
files have other words.
Banks' own templates are in `templating/`.
"""
