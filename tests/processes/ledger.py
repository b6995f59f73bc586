"""A network that writes down every refresh token it is shown, and can keep its answers to itself for a while."""

import math
import threading
import time
from collections import Counter

from tests.conftest import mailru_profile
from tests.network import Call, answer

STRICT, GRACE, FIXED = "strict", "grace", "fixed"
"""A refresh token works once; until its successor is used; for ever."""


class Ledger:
    """Gives tokens `refresh-UID-N`, numbered from 0 for each account; only the newest access token is good.

    What is asked for is done at once, but between `hold()` and `release()` the answer is kept back: `waiting` is
    how many are.
    """

    def __init__(self, rotation: str = STRICT, *, latency: float = 0) -> None:
        self.rotation = rotation
        self.latency = latency
        self.presented: Counter[str] = Counter()
        self.refused: list[str] = []
        """Accounts whose refresh token did not work any more."""
        self.waiting = 0
        self._newest: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._permits = math.inf
        self._changed = threading.Condition()

    def pair(self, uid: str) -> tuple[str, str]:
        """Access and refresh token that were given last."""
        number = self._newest[uid]
        return f"access-{uid}-{number}", f"refresh-{uid}-{0 if self.rotation == FIXED else number}"

    @property
    def presented_twice(self) -> list[str]:
        return [token for token, count in self.presented.items() if count > 1]

    def hold(self) -> None:
        self._permits = 0

    def release(self, count: float = math.inf) -> None:
        with self._changed:
            self._permits += count
            self._changed.notify_all()

    def token_endpoint(self, call: Call) -> None:
        uid, given = self._exchange(call.params["refresh_token"])
        time.sleep(self.latency)
        with self._changed:
            self.waiting += 1
            self._changed.wait_for(lambda: self._permits > 0)
            self._permits -= 1
            self.waiting -= 1
        if given is None:
            self._refuse(call)
        else:
            self._grant(call, uid, *given)

    def _refuse(self, call: Call) -> None:
        answer({"error": "invalid_grant"}, status=400)(call)

    def _grant(self, call: Call, uid: str, access: str, refresh: str) -> None:
        named = {} if self.rotation == FIXED else {"refresh_token": refresh, "x_mailru_vid": uid}
        answer({"access_token": access, "token_type": "bearer", "expires_in": 86400, **named})(call)

    def api_endpoint(self, call: Call) -> None:
        session = call.params["session_key"]
        uid = session.split("-")[1]
        if session == self.pair(uid)[0]:
            answer([mailru_profile(uid=uid)])(call)
        else:
            answer({"error": {"error_code": 102, "error_msg": "User authorization failed"}})(call)

    def _exchange(self, refresh: str) -> tuple[str, tuple[str, str] | None]:
        uid, number = refresh.split("-")[1], int(refresh.split("-")[2])
        with self._changed:
            self.presented[refresh] += 1
            good = {
                STRICT: number == self._newest[uid],
                GRACE: number >= self._used[uid],
                FIXED: True,
            }
            if not good[self.rotation]:
                self.refused.append(uid)
                self._end_family(uid)
                return uid, None
            self._used[uid] = number
            self._newest[uid] += 1
            return uid, self.pair(uid)

    def _end_family(self, uid: str) -> None:
        """What else the reuse of a refresh token costs its owner: nothing."""


class FatalLedger(Ledger):
    """VK ID: a refresh token presented twice ends everything that came of it; tokens belong to a device."""

    def __init__(self, *, latency: float = 0) -> None:
        super().__init__(STRICT, latency=latency)
        self.wrong_devices: list[str] = []

    def api_endpoint(self, call: Call) -> None:
        uid = call.params["access_token"].split("-")[1]
        if call.params["access_token"] == self.pair(uid)[0]:
            answer({"response": [{"id": int(uid)}]})(call)
        else:
            answer({"error": {"error_code": 5, "error_msg": "User authorization failed"}})(call)

    def _refuse(self, call: Call) -> None:
        text = "session is compromised because refresh token has already been applied"
        answer({"error": "invalid_request", "error_description": text})(call)

    def _grant(self, call: Call, uid: str, access: str, refresh: str) -> None:
        if call.params["device_id"] != f"device-{uid}":
            self.wrong_devices.append(uid)
        named = {"access_token": access, "refresh_token": refresh, "user_id": int(uid)}
        answer({**named, "expires_in": 3600, "state": call.params["state"]})(call)

    def _end_family(self, uid: str) -> None:
        self._newest[uid] += 1  # what was given last is not the newest any more
