"""What Twilio's error codes mean, for an answer, a look-up and a status callback alike.

Source: https://www.twilio.com/docs/api/errors. Codes 2xxxx come at once, with an HTTP status; codes 3xxxx come later as
ErrorCode of a status callback or in the message itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import OutcomeKind

_K, _C = OutcomeKind, SuppressionCause


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """What an error code says, and whether the address is at fault."""

    kind: OutcomeKind
    suppress: SuppressionCause | None = None


_PERMANENT, _ACCOUNT = CodeMeaning(_K.PERMANENT), CodeMeaning(_K.ACCOUNT)
_TRANSIENT, _THROTTLED, _UNKNOWN = CodeMeaning(_K.TRANSIENT), CodeMeaning(_K.THROTTLED), CodeMeaning(_K.UNKNOWN)
_BAD_NUMBER = CodeMeaning(_K.PERMANENT, _C.BOUNCED)

CODES: Mapping[int, CodeMeaning] = {
    11200: _PERMANENT,  # our callback could not be fetched; never about a message
    20001: _PERMANENT,  # a parameter was not recognised
    20003: _ACCOUNT,  # permission denied
    20404: _ACCOUNT,  # posting a message finds everything but the account itself
    20429: _THROTTLED,
    20500: _UNKNOWN,
    20503: _UNKNOWN,  # a 5xx to a POST: it may have been sent
    21211: _BAD_NUMBER,  # not a phone number
    21212: _ACCOUNT,  # our own From is wrong, for every message
    21217: _BAD_NUMBER,  # not a phone number
    21408: _PERMANENT,  # region not enabled: says nothing about the number
    21601: _ACCOUNT,  # our From cannot send SMS
    21602: _PERMANENT,  # no body
    21603: _ACCOUNT,  # no From
    21604: _PERMANENT,  # no To
    21606: _PERMANENT,  # our From cannot reach this destination
    21608: _PERMANENT,  # a trial account, and this number is not on its list
    21609: _ACCOUNT,  # our StatusCallback is wrong, for every message
    21610: CodeMeaning(_K.PERMANENT, _C.STOPPED),  # the person sent STOP
    21611: _THROTTLED,  # our queue at Twilio is full: not taken
    21612: _PERMANENT,  # not currently reachable by SMS: it may be again
    21614: _BAD_NUMBER,  # not a mobile number
    21617: _PERMANENT,  # too long
    21619: _PERMANENT,  # neither body nor media
    21620: _PERMANENT,  # bad media URL
    21635: _BAD_NUMBER,  # a landline
    21654: _PERMANENT,  # a content parameter is missing
    21701: _ACCOUNT,  # our Messaging Service does not exist
    21703: _PERMANENT,  # none of its numbers can reach this recipient: others it reaches
    21704: _ACCOUNT,  # it has no numbers
    21705: _ACCOUNT,  # it is invalid
    21730: _TRANSIENT,  # maintenance: not taken, try later
    30001: _TRANSIENT,  # queue overflow
    30002: _ACCOUNT,  # account suspended
    30003: _TRANSIENT,  # handset off or away
    30004: _PERMANENT,  # blocked by the person or the carrier
    30005: _BAD_NUMBER,  # unknown handset
    30006: _BAD_NUMBER,  # landline or unreachable carrier
    30007: _PERMANENT,  # filtered for its content or sender
    30008: _TRANSIENT,  # the carrier gave no reason
    30009: _PERMANENT,  # a segment of an inbound message is missing
    30010: _PERMANENT,  # dearer than the price we allowed
    30011: _PERMANENT,  # MMS not supported there
    30017: _TRANSIENT,  # carrier congested
    30022: _THROTTLED,  # carrier's rate for our campaign
    30023: _THROTTLED,  # carrier's day cap for our campaign
    30024: _ACCOUNT,  # our sender is not provisioned
    30032: _ACCOUNT,  # our toll-free number is not verified
    30034: _ACCOUNT,  # our number is not registered
    30410: _TRANSIENT,  # a provider downstream timed out
    30450: _PERMANENT,  # blocked as fraud: says nothing lasting about the number
}
