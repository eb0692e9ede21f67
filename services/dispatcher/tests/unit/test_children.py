"""Banks' templates in child processes: what they can do, and what they cannot do to anybody."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tocsin_dispatcher.templating.children import MEMORY, SLOW, Children, Failure, FailureKind, Texts
from tocsin_dispatcher.templating.sandbox import _FILTERS, _TESTS

BANK, OTHER_BANK = 1, 2
#: On a machine that others use too a child may have to wait for its turn.
PATIENT = timedelta(seconds=20)


@pytest_asyncio.fixture
async def children() -> AsyncIterator[Children]:
    """A pool whose renders may take long; its processes are gone afterwards."""
    pool = Children(limit=PATIENT, patience=PATIENT)
    yield pool
    await pool.close()


@pytest_asyncio.fixture
async def hasty() -> AsyncIterator[Children]:
    """A pool that ends a render after half a second."""
    pool = Children(limit=timedelta(seconds=0.5), patience=PATIENT)
    yield pool
    await pool.close()


async def text(pool: Children, source: str, variables: Mapping[str, object] | None = None, part: str = "text") -> str:
    """What a template becomes; it must not fail."""
    told = await pool.render(BANK, {part: source}, variables or {})
    assert isinstance(told, Texts), told
    return told.parts[part]


async def failure(pool: Children, source: str, variables: Mapping[str, object] | None = None) -> Failure:
    """How a template fails, which it must."""
    told = await pool.render(BANK, {"text": source}, variables or {})
    assert isinstance(told, Failure), told
    return told


def processes() -> set[int]:
    """The child processes that are running."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


async def test_values_conditions_loops_and_macros_are_rendered(children: Children) -> None:
    """All that words need."""
    source = (
        "{% macro row(name, value) %}{{ name|upper }}={{ value }};{% endmacro %}"
        "{% for one in groups %}{{ row(one.label, one.count) }}{% if loop.last %}!{% endif %}{% endfor %}"
        "{% set n = 2 %}{{ 'a' if n == 2 else 'b' }}{{ missing|default('-') }}{{ range(3)|join(',') }}"
    )
    groups = [{"label": "low", "count": 2}, {"label": "due", "count": 1}]
    assert await text(children, source, {"groups": groups}) == "LOW=2;DUE=1;!a-0,1,2"


async def test_html_is_escaped_and_plain_text_is_not(children: Children) -> None:
    """What a merchant calls itself never becomes markup."""
    assert await text(children, "<p>{{ a }}</p>", {"a": "<b>&"}, "html") == "<p>&lt;b&gt;&amp;</p>"
    assert await text(children, "{{ a }}", {"a": "<b>&"}) == "<b>&"


#: what reaches for what no template may have, and why it is refused
REACHES = [
    ("{{ ''.__class__ }}", "'__class__' is not allowed"),
    ("{{ ''['__class__'] }}", "'__class__' is not allowed"),
    ("{{ ''['__cla' + 'ss__'] }}", "unsafe"),  # by the sandbox, when it is rendered
    ("{% set n = '__class__' %}{{ ''[n] }}", "unsafe"),
    ("{{ ''|attr('__class__') }}", "no filter 'attr'"),
    ("{{ ''|map(attribute='__class__') }}", "no filter 'map'"),
    ("{{ '{0.__class__.__mro__}'.format(1) }}", "only macros and range can be called"),
    ("{{ '%s'|format(1) }}", "no filter 'format'"),
    ("{{ a.keys() }}", "only macros and range can be called"),
    ("{{ a|safe }}", "no filter 'safe'"),
    ("{% autoescape false %}x{% endautoescape %}", "autoescape is not allowed"),
    ("{% include '/etc/passwd' %}", "include is not allowed"),
    ("{% extends 'layout.html' %}", "extends is not allowed"),
    ("{% import 'parts.html' as parts %}", "import is not allowed"),
    ("{% from 'parts.html' import row %}", "import is not allowed"),
    ("{% block a %}{% endblock %}", "block is not allowed"),
    ("{{ self }}", "'self' is not allowed"),
    ("{{ _x }}", "'_x' is not allowed"),
    ("{{ lipsum }}", "undefined"),
    ("{{ cycler }}", "undefined"),
    ("{{ namespace() }}", "undefined"),
    ("{{ environ }}", "undefined"),
    ("{{ os }}", "undefined"),
    ("{{ {'a': 1} }}", "a dictionary is not allowed"),
    ("{{ 9 ** 9 }}", "** is not allowed"),
    ("{{ range(100000) }}", "at most 1000"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
    ("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", "nested too deeply"),
    ("{{ nobody }}", "'nobody' is undefined"),
]


@pytest.mark.parametrize(("source", "why"), REACHES)
async def test_a_template_that_reaches_too_far_is_an_error(children: Children, source: str, why: str) -> None:
    """By what it is made of, or when it is rendered; what it was after is in no answer."""
    failed = await failure(children, source, {"a": {"b": 1}})
    assert failed.kind is FailureKind.ERROR
    assert why in failed.why
    assert not re.search(r"<class|root:|/usr", failed.why)


#: a use of every filter and every test that a template may use, and what comes of it
WORKS = {
    "abs": ("{{ -2|abs }}", "2"),
    "capitalize": ("{{ 'ab'|capitalize }}", "Ab"),
    "center": ("{{ 'a'|center(3) }}", " a "),
    "default": ("{{ x|default('d') }}", "d"),
    "e": ("{{ '<'|e }}", "&lt;"),
    "escape": ("{{ '<'|escape }}", "&lt;"),
    "first": ("{{ [1, 2]|first }}", "1"),
    "indent": ("{{ 'a\\nb'|indent(1) }}", "a\n b"),
    "int": ("{{ '7'|int }}", "7"),
    "join": ("{{ [1, 2]|join('-') }}", "1-2"),
    "last": ("{{ [1, 2]|last }}", "2"),
    "length": ("{{ 'abc'|length }}", "3"),
    "lower": ("{{ 'A'|lower }}", "a"),
    "replace": ("{{ 'aa'|replace('a', 'b') }}", "bb"),
    "round": ("{{ 1.26|round(1) }}", "1.3"),
    "title": ("{{ 'a b'|title }}", "A B"),
    "trim": ("{{ ' a '|trim }}", "a"),
    "truncate": ("{{ 'one two three'|truncate(8, leeway=0) }}", "one..."),
    "upper": ("{{ 'a'|upper }}", "A"),
    "urlencode": ("{{ 'a b'|urlencode }}", "a%20b"),
    "wordcount": ("{{ 'a b'|wordcount }}", "2"),
    "wordwrap": ("{{ 'one two'|wordwrap(4) }}", "one\ntwo"),
    "defined": ("{{ x is defined }}", "False"),
    "divisibleby": ("{{ 4 is divisibleby 2 }}", "True"),
    "even": ("{{ 2 is even }}", "True"),
    "eq": ("{{ 1 is eq 1 }}", "True"),
    "equalto": ("{{ 1 is equalto 1 }}", "True"),
    "ge": ("{{ 1 is ge 1 }}", "True"),
    "gt": ("{{ 1 is gt 1 }}", "False"),
    "in": ("{{ 1 is in [1] }}", "True"),
    "le": ("{{ 1 is le 1 }}", "True"),
    "lt": ("{{ 1 is lt 1 }}", "False"),
    "ne": ("{{ 1 is ne 1 }}", "False"),
    "none": ("{{ none is none }}", "True"),
    "number": ("{{ 1 is number }}", "True"),
    "odd": ("{{ 2 is odd }}", "False"),
    "string": ("{{ '' is string }}", "True"),
    "undefined": ("{{ x is undefined }}", "True"),
}


async def test_every_filter_and_test_that_is_allowed_works(children: Children) -> None:
    """Also those for which Jinja imports something only now: a child can open no file any more."""
    assert sorted(WORKS) == sorted((*_FILTERS, *_TESTS))
    for name, (source, comes) in WORKS.items():
        assert (name, await text(children, source)) == (name, comes)


#: what can be parsed, and not be read for its variables
UNREAD = [
    ("a\n{% for loop in range(3) %}{{ loop.index }}{% endfor %}", 2, "special loop variable"),
    ("{{ " + "-" * 900 + "1 }}", 0, "nested too deeply"),
    ("{{ " + "a." * 800 + "b }}", 0, "nested too deeply"),
]


@pytest.mark.parametrize(("source", "line", "why"), UNREAD)
async def test_what_cannot_be_read_for_its_variables_names_its_part_and_line_and_ends_no_child(
    children: Children, source: str, line: int, why: str
) -> None:
    """Its author is told what is wrong with it."""
    await children.warm_up()
    before = processes()
    failed = await children.names(BANK, {"subject": "fine", "text": source}, ["a"])
    assert isinstance(failed, Failure)
    assert (failed.kind, failed.part, failed.line) == (FailureKind.ERROR, "text", line)
    assert why in failed.why
    assert processes() == before


async def test_an_error_names_its_part_and_line(children: Children) -> None:
    """Whether it is found in reading or in rendering."""
    sources = {"subject": "fine", "text": "a\nb\n{{ 1 / 0 }}"}
    assert await children.render(BANK, sources, {}) == Failure(FailureKind.ERROR, "text", 3, "division by zero")
    unread = await children.render(BANK, {"html": "a\n{% if %}"}, {})
    assert isinstance(unread, Failure)
    assert (unread.part, unread.line) == ("html", 2)
    names = await children.names(BANK, {"subject": "{{ a }}", "text": "{% if a %}\n{{ b }}{% endif %}"}, ["a"])
    assert names == Failure(FailureKind.ERROR, "text", 2, "there is no variable 'b'")
    assert await children.names(BANK, {"subject": "{{ b }}{{ a }}"}, ["a", "b", "c"]) == ["a", "b"]


async def test_a_huge_string_lacks_memory_and_the_next_render_has_a_new_child(children: Children) -> None:
    """300 MB are refused at once, and not after they are filled."""
    await children.warm_up()
    before, began = processes(), time.process_time()
    assert (await failure(children, "{{ 'a' * 300000000 }}")).kind is FailureKind.MEMORY
    assert await text(children, "fine") == "fine"
    assert len(before - processes()) == 1, "the child that lacked memory is gone"
    assert time.process_time() - began < 1


async def test_text_beyond_its_limit_is_refused_while_it_grows(children: Children) -> None:
    """Of all parts together, in bytes."""
    loop = "{% for n in range(500) %}{{ 'é' * 200 }}{% endfor %}"
    assert len((await text(children, loop)).encode()) == 200_000
    failed = await children.render(BANK, {"text": loop, "html": loop}, {})
    assert isinstance(failed, Failure)
    assert (failed.kind, failed.part) == (FailureKind.TOO_LARGE, "html")


ENDLESS = "".join(f"{{% for n{depth} in range(1000) %}}" for depth in range(5)) + "{% endfor %}" * 5


async def test_an_endless_loop_is_killed_and_its_child_replaced(hasty: Children) -> None:
    """After its time, whatever it does."""
    await hasty.warm_up()
    before = processes()
    failed = await failure(hasty, ENDLESS)
    assert (failed.kind, failed.why) == (FailureKind.TIMEOUT, "took longer than 0.5 s")
    assert isinstance(await hasty.render(BANK, {"text": "fine"}, {}), Texts)
    assert len(before - processes()) == 1


async def test_other_banks_messages_stay_fast_during_an_attack(children: Children) -> None:
    """One that keeps its child busy for good costs others nothing: a hundred renders while it lasts."""
    await children.warm_up()
    attack = [asyncio.create_task(children.render(BANK, {"text": ENDLESS}, {})) for _ in range(20)]
    took = []
    for number in range(100):
        began = time.monotonic()
        told = await children.render(OTHER_BANK, {"text": "Hello {{ n }}"}, {"n": number})
        took.append(time.monotonic() - began)
        assert isinstance(told, Texts)
        assert told.parts["text"] == f"Hello {number}"
    assert not any(task.done() for task in attack), "the attack has not ended"
    assert sorted(took)[50] < 0.05, f"half of them took {sorted(took)[50]:.3f} s"
    for task in attack:
        task.cancel()
    await asyncio.gather(*attack, return_exceptions=True)


async def test_a_bank_that_asks_for_very_much_at_once_keeps_no_other_from_asking(children: Children) -> None:
    """However many of its renders wait: the children of others are free."""
    await children.warm_up()
    flood = [asyncio.create_task(children.render(BANK, {"text": ENDLESS}, {})) for _ in range(3000)]
    await asyncio.sleep(0)  # noqa: TID251 - a turn for the others, no wait
    assert isinstance(await children.render(OTHER_BANK, {"text": "fine"}, {}), Texts)
    refused = [task.result() for task in flood if task.done()]
    assert 0 < len(refused) < len(flood), "what a bank may have waiting is bounded too"
    assert all(isinstance(one, Failure) and one.kind is FailureKind.BUSY for one in refused)
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert isinstance(await children.render(BANK, {"text": "fine"}, {}), Texts), "who gave up is waited for no more"


async def test_a_bank_that_waits_too_long_for_its_child_is_told_that_none_is_free() -> None:
    """And it is no fault of the template that waits."""
    pool = Children(limit=PATIENT, patience=timedelta(seconds=0.2))
    await pool.warm_up()
    slow = asyncio.create_task(pool.render(BANK, {"text": ENDLESS}, {}))
    await asyncio.sleep(0)  # noqa: TID251 - a turn for the other, no wait
    told = await pool.render(BANK, {"text": "fine"}, {})
    assert isinstance(told, Failure)
    assert told.kind is FailureKind.BUSY
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert isinstance(await pool.render(BANK, {"text": "fine"}, {}), Texts), "a cancelled render leaves no child behind"
    await pool.close()


async def test_a_child_that_dies_is_replaced(children: Children) -> None:
    """As if the kernel had killed it."""
    others = processes()
    await children.warm_up()
    for child in processes() - others:
        os.kill(child, 9)
    told = [await children.render(bank, {"text": "fine"}, {}) for bank in range(4)]
    assert isinstance(told[-1], Texts), told
    assert all(isinstance(one, Texts) or one.kind is FailureKind.DIED for one in told)


async def test_a_child_holds_no_secret_and_can_open_nothing(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the sandbox broken: no environment, no file more than its pipes, little memory."""
    monkeypatch.setenv("A_SECRET", "of the service")
    others = processes()
    await children.warm_up()
    ours = processes() - others
    assert len(ours) == 3
    for child in ours:
        folder = Path(f"/proc/{child}")
        assert folder.joinpath("environ").read_bytes().strip(b"\0") == b""
        limits = folder.joinpath("limits").read_text()
        assert re.search(rf"Max address space\s+{MEMORY}\s", limits), limits
        assert re.search(r"Max open files\s+3\s", limits), limits
        assert len(list(folder.joinpath("fd").iterdir())) <= 3


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"texts": {"text": "x"}},
        {"texts": {"html": "x"}, "cpu": 0.1},
        {"fault": "error"},
        {"fault": "error", "part": "text", "line": None, "why": "x"},
        {"fault": "timeout", "part": "text", "line": 1, "why": "x"},  # not the child's to say
    ],
)
async def test_what_a_child_says_is_not_trusted(
    children: Children, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]
) -> None:
    """Nonsense is a failure of its template and of nothing else."""

    async def lie(_process: object, _request: object) -> dict[str, object]:
        return answer

    with monkeypatch.context() as lying:
        lying.setattr("tocsin_dispatcher.templating.children._exchange", lie)
        assert (await failure(children, "x")).kind is FailureKind.DIED
    assert await text(children, "fine") == "fine"


async def test_a_render_says_what_it_took(children: Children) -> None:
    """By the processor time it used, which no busy machine adds to."""
    source = "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}" * 40 + "done"
    told = await children.render(BANK, {"text": source}, {})
    quick = await children.render(BANK, {"text": "done"}, {})
    assert isinstance(told, Texts)
    assert isinstance(quick, Texts)
    assert quick.cpu < SLOW < told.cpu


async def test_without_templates_there_is_no_child() -> None:
    """And a pool that was closed has none either."""
    before = processes()
    pool = Children()
    assert processes() == before
    await pool.warm_up()
    assert len(processes() - before) == 3
    await pool.close()
    assert processes() == before
