"""Why a delivery is not simply sent: the one closed list, used alike in database, log, metric, API and test."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was held, suppressed, merged or expired, or waits."""

    NO_ADDRESS = "no_address"
    UNVERIFIED = "unverified"
    ALERT_GONE = "alert_gone"
    SNOOZED = "snoozed"
    EXPIRED = "expired"
    PREFERENCE_OFF = "preference_off"
    SUPPRESSED_BOUNCED = "suppressed_bounced"
    SUPPRESSED_COMPLAINED = "suppressed_complained"
    SUPPRESSED_UNSUBSCRIBED = "suppressed_unsubscribed"
    SUPPRESSED_STOPPED = "suppressed_stopped"
    SUPPRESSED_DISABLED = "suppressed_disabled"
    MERGED = "merged"
    DAILY_DIGEST = "daily_digest"
    QUIET_HOURS = "quiet_hours"
    RATE_LIMITED = "rate_limited"
    FLOOD = "flood"
    NO_LONGER_TRUE = "no_longer_true"
    PROFILE_AWAITED = "profile_awaited"
    BREAKER_OPEN = "breaker_open"
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    """Of a code: the bank sends none to numbers there."""


class SuppressionCause(StrEnum):
    """Why an address is on the suppression list, as `suppressions.reason` stores it."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    STOPPED = "stopped"
    DISABLED = "disabled"

    @property
    def reason(self) -> Reason:
        """The reason a delivery to such an address is suppressed with."""
        return Reason(f"suppressed_{self.value}")
