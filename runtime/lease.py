"""The lease: one commander per arm, for as long as it is heard."""

from __future__ import annotations

from dvla.runtime.messages import plain_words


class Lease:
    """Who commands the arm.

    Args:
        silence_ns: the lease ends when its holder is silent for longer.
    """

    def __init__(self, silence_ns: int) -> None:
        self._silence_ns = silence_ns
        self._heard_ns = 0
        self.session = 0
        self.holder = ""

    def request(self, session: int, holder: str, now_ns: int) -> str:
        """Grant the lease, or return the sentence that says who has it."""
        if session <= 0:
            return f"session {session} is not a positive number"
        if self.session not in (0, session):
            silent_s = (now_ns - self._heard_ns) * 1e-9
            return (
                f"the arm is commanded by {self.holder!r} (session {self.session}, "
                f"heard {silent_s:.1f} s ago); stop it first, or wait until its lease ends "
                f"after {self._silence_ns * 1e-9:g} s of silence"
            )
        self.session, self.holder = session, plain_words(holder)
        self._heard_ns = now_ns
        return ""

    def hear(self, session: int, now_ns: int) -> None:
        """Note a sign of life, if it is the holder's."""
        if session == self.session:
            self._heard_ns = max(self._heard_ns, now_ns)

    def release(self) -> None:
        """End the lease."""
        self.session, self.holder = 0, ""

    def expired(self, now_ns: int) -> bool:
        """Return whether the holder has been silent for too long."""
        return self.session != 0 and now_ns - self._heard_ns > self._silence_ns
