"""A bank tells its users in its own words; whatever is wrong with them, everybody is told."""

import asyncio
from typing import Any

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import EMAIL, PARTNER, PHONE, USER, Timetable

BELOW = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}
EMAIL_TEMPLATE = {
    "kind": "account_threshold",
    "channel": "email",
    "subject": "{{ account }} is at {{ balance }}",
    "text": "Dear customer, {{ account }} has {{ balance }} left.",
    "html": "<html><body><p>{{ account }}: <b>{{ balance }}</b></p></body></html>",
}
SMS_TEMPLATE = {"kind": "account_threshold", "channel": "sms", "text": "Only {{ balance }} left in {{ account }}"}
#: With the example all is well; with this account's name it is not.
TURNS = "{% if account == 'Checking' %}%s{% else %}fine{% endif %}"
ENDLESS = "".join(f"{{% for n{depth} in range(1000) %}}" for depth in range(4)) + "{% endfor %}" * 4


async def test_a_bank_s_words_are_told_until_they_are_rolled_back(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        once = {**BELOW, "repeat": "on_crossing"}
        await day.alert(account_threshold=once, sms_delivery=True, cooldown="300s")
        template = await created(day, EMAIL_TEMPLATE)
        assert (template["version"], template["active"], template["variables"]) == (1, False, ["account", "balance"])
        await activated(day, template)
        await activated(day, await created(day, SMS_TEMPLATE))

        await day.at("09:05", day.account("480.00"))
        await day.want(
            "email: Checking is at $480.00", "sms: Only $480.00 left in Checking", "inbox: Low balance: Checking"
        )
        (mail,) = (message for message in day.stack.sendgrid.account.accepted if message.recipient == EMAIL)
        assert mail.html is not None
        assert "<b>$480.00</b>" in mail.html

        assert await by_bank(day, "POST", f"{path(template)}:rollback", {}) is not None
        await day.at("09:15", day.account("2000.00"))
        await day.at("09:25", day.account("470.00"))
        await day.want(
            "email: Low balance: Checking", "sms: Only $470.00 left in Checking", "inbox: Low balance: Checking"
        )


async def test_the_inbox_shows_a_bank_s_words_too(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW, email_delivery=False)
        words = {
            "kind": "account_threshold",
            "channel": "in_app",
            "subject": "Mind {{ account }}",
            "text": "{{ balance }}!",
        }
        await activated(day, await created(day, words))
        await day.at("09:05", day.account("480.00"))
        await day.want("inbox: Mind Checking")
        (shown,) = await day.inbox()
        assert shown["message"] == "$480.00!"
        assert shown["action_url"].endswith("/accounts/11")


async def test_a_template_that_breaks_tells_nothing_wrong_and_loses_no_message(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        once = {**BELOW, "repeat": "on_crossing"}
        await day.alert(account_threshold=once, sms_delivery=True, cooldown="300s")
        broken = await created(day, {**EMAIL_TEMPLATE, "subject": TURNS.replace("%s", "{{ 1 / 0 }}")})
        huge = await created(day, {**SMS_TEMPLATE, "text": TURNS.replace("%s", "{{ 'a' * 300000000 }}")})
        for template in (broken, huge):
            await activated(day, template)
        await day.at("09:05", day.account("480.00"))
        await day.want(
            "email: Low balance: Checking", "sms: Checking: $480.00 (below $500.00)", "inbox: Low balance: Checking"
        )
        await failed(day, broken, "subject, line 1: error")
        await failed(day, huge, "memory")
        (registry,) = day.stack.registries["dispatcher"]
        labels = {"channel": "email", "reason": "error"}
        assert registry.get_sample_value("tocsin_template_failures_total", labels) == 1


async def test_a_template_that_never_ends_holds_no_message_up(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW, email_delivery=False)
        words = {"kind": "account_threshold", "channel": "in_app", "subject": "Title"}
        endless = await created(day, {**words, "text": TURNS.replace("%s", ENDLESS)})
        await activated(day, endless)
        await day.at("09:05", day.account("480.00"))
        await day.want("inbox: Low balance: Checking")
        await failed(day, endless, "timeout")


async def test_banks_that_look_at_templates_that_never_end_take_no_other_bank_s_words(timetable: OpenTimetable) -> None:
    """As many as they like, over and over: what is only looked at is rendered apart from what is sent."""
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW, sms_delivery=True)
        for template in (EMAIL_TEMPLATE, SMS_TEMPLATE):
            await activated(day, await created(day, template))
        enough, answered = asyncio.Event(), asyncio.Event()

        async def look(token: str) -> None:
            made = await day.must("POST", "/api/v2/templates", {**SMS_TEMPLATE, "text": ENDLESS}, token)
            while not enough.is_set():
                answer = await day.ask("POST", f"{path(made)}:preview", {}, token)
                assert answer.status in (400, 503), answer
                answered.set()

        looking = [asyncio.create_task(look(day.stack.partner_token(bank))) for bank in range(101, 109)]
        await asyncio.wait_for(answered.wait(), 20)
        await day.at("09:05", day.account("480.00"))
        await day.want(
            "email: Checking is at $480.00", "sms: Only $480.00 left in Checking", "inbox: Low balance: Checking"
        )
        enough.set()
        await asyncio.wait_for(asyncio.gather(*looking), 30)


async def test_what_cannot_be_activated_is_refused_by_part_and_line(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        for changes, field, why in (
            ({"text": "Dear\n{% include 'x' %}"}, "template.text", "line 2: include is not allowed"),
            ({"html": "{{ ''.__class__ }}"}, "template.html", "line 1: '__class__' is not allowed"),
            ({"subject": "a\nb\n{{ surname }}"}, "template.subject", "line 3: there is no variable 'surname'"),
            ({"text": "{{ 'a'|attr('b') }}"}, "template.text", "line 1: there is no filter 'attr'"),
            ({"text": "x" * 65_000, "html": "y" * 1_000}, "template.text", "with the other parts more than 64 KB"),
            ({"channel": "sms", "html": "", "subject": "Hello"}, "template.subject", "sms has none"),
            ({"locale": "xx-QQ"}, "template.locale", "is no locale"),
            ({"kind": "verification", "channel": "push", "html": ""}, "template.channel", "is never told there"),
            ({"kind": "system"}, "template.channel", "is never told there"),
        ):
            await refused(day, "/api/v2/templates", {**EMAIL_TEMPLATE, **changes}, field, why)
        for changes, field, why in (
            ({"html": ""}, "html", "is required for email"),
            ({"subject": "Low\nbalance"}, "subject", "more than one line"),
            ({"text": "{{ 'a' * 300000000 }}"}, "text", "more memory"),
            ({"text": "{% if direction == 'above' %}\n{{ 1 / 0 }}{% endif %}x"}, "text", "line 2: division by zero"),
            ({"text": ENDLESS}, "text", "took longer than 1 s"),
            ({"text": "{% for n in range(1000) %}{{ 'a' * 1000 }}{% endfor %}"}, "text", "more than 256 KB"),
            ({"text": "{% if direction == 'above' %}{% else %}x{% endif %}"}, "text", "renders to nothing"),
        ):
            template = await created(day, {**EMAIL_TEMPLATE, **changes})
            await refused(day, f"{path(template)}:activate", {}, field, why)
        text = await created(day, {**SMS_TEMPLATE, "text": "{% if hide_amounts %}{% else %}x{% endif %}"})
        await refused(day, f"{path(text)}:activate", {}, "text", "renders to nothing")
        template = await created(day, {**SMS_TEMPLATE, "text": "{{ message }} " * 5})
        await refused(day, f"{path(template)}:activate", {}, "text", "segments")


async def test_a_preview_shows_any_values_in_any_locale(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        template = await created(day, {**EMAIL_TEMPLATE, "locale": "de"})
        own = await by_bank(day, "POST", f"{path(template)}:preview", {})
        assert own["subject"] == "Everyday Checking is at 84,20\u00a0$"
        values = {"locale": "fr-FR", "values": {"account": "<Épargne>", "balance": "-1249.50", "currency": "EUR"}}
        shown = await by_bank(day, "POST", f"{path(template)}:preview", values)
        assert shown["subject"] == "<Épargne> is at -1\u202f249,50\u00a0€"
        assert "&lt;Épargne&gt;" in shown["html"]
        for name, value in (
            ("iban", "x"),
            ("balance", "much"),
            ("balance", "1e400"),
            ("threshold", "NaN"),
            ("as_of", "0001-01-01"),
        ):
            wrong = {"values": {"account": "Épargne", name: value}}
            await refused(day, f"{path(template)}:preview", wrong, "values", f"'{name}'")


async def test_no_figure_leaves_by_text_message_or_push_for_who_has_them_hidden(timetable: OpenTimetable) -> None:
    """Not in the bank's own words either, nor in a preview or a test of them; e-mail and inbox tell all."""
    async with timetable("2025-11-03 09:00") as day:
        await day.must("PATCH", "/api/v2/preferences", {"hide_amounts": True})
        await day.must("POST", "/api/v2/push-subscriptions", day.stack.push.browser("laptop"))
        await day.alert(account_threshold=BELOW, sms_delivery=True, push_delivery=True)
        told = {"subject": "{{ title }}: {{ balance }}", "text": "{{ message }} {{ balance }} of {{ threshold }}"}
        sms = await created(day, {**SMS_TEMPLATE, "locale": "en", "text": told["text"]})
        for template in (
            sms,
            await created(day, {**EMAIL_TEMPLATE, **told}),
            await created(day, {"kind": "account_threshold", "channel": "push", **told}),
            await created(day, {"kind": "account_threshold", "channel": "in_app", **told}),
        ):
            await activated(day, template)
        await day.at("09:05", day.account("480.00"))
        await day.want(
            "email: Low balance: Checking: $480.00",
            "inbox: Low balance: Checking: $480.00",
            "push to laptop: Low balance: Checking: ***",
            "sms: Your Checking balance is below your threshold. *** of ***",
        )
        assert day.stack.push.pushed[0].told["message"] == "Your Checking balance is below your threshold. *** of ***"

        hidden = "Your Everyday Checking balance is below your threshold. *** of ***"
        shown = await by_bank(day, "POST", f"{path(sms)}:preview", {"hide_amounts": True})
        assert shown["text"] == hidden
        await by_bank(day, "POST", f"{path(sms)}:test-send", {"user_id": str(USER)})
        await day.want(f"sms: {hidden}")


async def test_a_test_goes_to_the_user_it_names_and_to_nobody_suppressed(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 23:30") as day:
        quiet = {"quiet_hours": {"enabled": True}, "email_enabled": False}
        await day.must("PATCH", "/api/v2/preferences", quiet)
        mail, text = await created(day, EMAIL_TEMPLATE), await created(day, SMS_TEMPLATE)
        for template in (mail, text):
            sent = await by_bank(day, "POST", f"{path(template)}:test-send", {"user_id": str(USER)})
            assert sent["delivery_id"]
        await day.want("email: Everyday Checking is at $84.20", "sms: Only $84.20 left in Everyday Checking")
        (message,) = (one for one in day.stack.twilio.account.accepted if one.recipient == PHONE)
        assert message.text == "Only $84.20 left in Everyday Checking"

        token = day.stack.partner_token(PARTNER)
        answer = await day.ask("POST", f"{path(mail)}:test-send", {"user_id": "99"}, token)
        assert answer.status == 404
        for count in range(2, 50):
            assert count < 50
            await by_bank(day, "POST", f"{path(text)}:test-send", {"user_id": str(USER)})
        answer = await day.ask("POST", f"{path(text)}:test-send", {"user_id": str(USER)}, token)
        assert answer.status == 429
        day.forgive()


async def created(day: Timetable, template: dict[str, Any]) -> Any:
    """Add a version, as the bank."""
    return await by_bank(day, "POST", "/api/v2/templates", template)


async def activated(day: Timetable, template: dict[str, Any]) -> None:
    """Have messages told by a version."""
    now = await by_bank(day, "POST", f"{path(template)}:activate", {})
    assert now["active"]


async def failed(day: Timetable, template: dict[str, Any], how: str) -> None:
    """It is noted on the version how it failed, as soon as that is known."""
    async with asyncio.timeout(20):
        while (noted := (await by_bank(day, "GET", path(template))).get("last_failure")) != how:
            assert not noted, f"noted {noted}, wanted {how}"


async def by_bank(day: Timetable, method: str, where: str, body: object = None) -> Any:
    """A call of the bank's staff that must succeed."""
    return await day.must(method, where, body, day.stack.partner_token(PARTNER))


async def refused(day: Timetable, where: str, body: object, field: str, why: str) -> None:
    """The call is refused because of one field."""
    answer = await day.ask("POST", where, body, day.stack.partner_token(PARTNER))
    assert answer.status == 400, f"{body}: {answer.status} {answer.body}"
    (error,) = answer.body["errors"]
    assert error["field"] == field, answer.body
    assert why in str(error), answer.body


def path(template: dict[str, Any]) -> str:
    """Where a version is."""
    return f"/api/v2/templates/{template['id']}"
