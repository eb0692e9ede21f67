"""What the replies of an SMTP server mean, by step, code and words."""

import pytest

from tocsin_dispatcher.providers.smtp_outcomes import ABOUT_US, Reply, Silence, Step, Unusable, smtp_outcome
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import OutcomeKind

K = OutcomeKind
ID = "m@bank.example"


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("code", range(400, 500))
def test_every_4yz_is_tried_again(step: Step, code: int) -> None:
    assert smtp_outcome(Reply(step, code, "4.2.1 later"), ID).kind is K.TRANSIENT


@pytest.mark.parametrize("code", range(500, 600))
def test_every_5yz_about_a_recipient_or_a_message_is_final_unless_it_is_about_us(code: int) -> None:
    wanted = K.ACCOUNT if code in ABOUT_US else K.PERMANENT
    for step in (Step.RCPT, Step.DATA, Step.END):
        assert smtp_outcome(Reply(step, code, "no"), ID).kind is wanted


@pytest.mark.parametrize("code", [500, 501, 502, 503, 504, 521, 530, 534, 535, 538, 550, 551, 553, 554, 555, 556])
@pytest.mark.parametrize("step", [Step.CONNECT, Step.MAIL])
def test_a_5yz_before_a_recipient_is_named_is_about_us_and_fails_no_message(step: Step, code: int) -> None:
    assert smtp_outcome(Reply(step, code, "5.7.1 no"), ID).kind is K.ACCOUNT


@pytest.mark.parametrize("code", [500, 502, 503, 504, 521, 530, 534, 535, 538])
def test_what_meets_every_message_is_about_the_account_at_any_step(code: int) -> None:
    assert {smtp_outcome(Reply(step, code, "no"), ID).kind for step in Step} == {K.ACCOUNT}


@pytest.mark.parametrize(
    ("step", "code", "text", "kind", "suppressed"),
    [
        (Step.RCPT, 550, "5.1.1 no such user", K.PERMANENT, True),
        (Step.END, 550, "5.1.1 no such user", K.PERMANENT, True),
        (Step.RCPT, 550, "5.1.2 no such host", K.PERMANENT, True),
        (Step.RCPT, 501, "5.1.3 bad address", K.PERMANENT, True),
        (Step.RCPT, 556, "5.1.10 takes no mail", K.PERMANENT, True),
        (Step.RCPT, 550, "5.2.1 disabled", K.PERMANENT, True),
        (Step.RCPT, 552, "5.2.2 mailbox full", K.PERMANENT, False),
        (Step.RCPT, 550, "no such user", K.PERMANENT, False),
        (Step.RCPT, 553, "5.1.10x", K.PERMANENT, False),
        (Step.RCPT, 550, "5.1.11 unheard of", K.PERMANENT, False),
        (Step.RCPT, 550, "5.7.1 policy", K.PERMANENT, False),
        (Step.RCPT, 554, "5.7.1 Relay access denied", K.ACCOUNT, False),
        (Step.END, 554, "5.7.1 spam, to be relayed to nobody", K.PERMANENT, False),
        (Step.END, 550, "5.4.5 daily quota exceeded", K.ACCOUNT, False),
        (Step.MAIL, 550, "5.1.1 who are you", K.ACCOUNT, False),
        (Step.MAIL, 552, "5.3.4 too large", K.PERMANENT, False),
        (Step.MAIL, 553, "5.6.7 not ASCII", K.PERMANENT, False),
        (Step.CONNECT, 454, "4.7.0 temporary authentication failure", K.TRANSIENT, False),
        (Step.RCPT, 450, "4.7.1 greylisted", K.TRANSIENT, False),
        (Step.RCPT, 450, "4.1.1 no such user yet", K.TRANSIENT, False),
        (Step.END, 454, "Throttling failure: Maximum sending rate exceeded.", K.THROTTLED, False),
        (Step.MAIL, 421, "4.7.28 flood", K.THROTTLED, False),
        (Step.END, 250, "2.0.0 queued", K.ACCEPTED, False),
        (Step.END, 252, "perhaps", K.ACCEPTED, False),
        (Step.END, 354, "go on?", K.UNKNOWN, False),
        (Step.END, -1, "garbage", K.UNKNOWN, False),
        (Step.DATA, 250, "ok?", K.TRANSIENT, False),
        (Step.CONNECT, -1, "garbage", K.TRANSIENT, False),
    ],
)
def test_replies_by_step_code_and_words(step: Step, code: int, text: str, kind: OutcomeKind, suppressed: bool) -> None:
    outcome = smtp_outcome(Reply(step, code, text), ID)
    assert (outcome.kind, outcome.suppress) == (kind, SuppressionCause.BOUNCED if suppressed else None)
    assert outcome.provider_id == (ID if kind is K.ACCEPTED else None)


@pytest.mark.parametrize("step", Step)
def test_silence_is_unknown_only_once_the_message_was_written(step: Step) -> None:
    assert smtp_outcome(Silence(step, "TimeoutError"), ID).kind is (K.UNKNOWN if step is Step.END else K.TRANSIENT)


def test_an_answer_tells_no_address_and_keeps_its_codes() -> None:
    outcome = smtp_outcome(Reply(Step.RCPT, 550, "5.1.1 <ann@example.com>: no such user"), ID)
    assert (outcome.status, outcome.code) == (550, "5.1.1")
    assert "ann@" not in outcome.answer
    assert smtp_outcome(Unusable("no STARTTLS"), ID).kind is K.ACCOUNT
