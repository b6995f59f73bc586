"""aiookru: a dict of parameters, signed."""

from aiookru.session import TokenSession

from .work import serve


class _Session(TokenSession):
    """What its `request()` does before it sends."""

    def __init__(self) -> None:
        self._application_key, self._secret_key, self._access_token = "k" * 32, "s" * 32, "t" * 60

    def build(self, params):
        params["format"] = "json"
        params["application_key"] = self._application_key
        params = {k: params[k] for k in params if params[k]}
        params["sig"] = self.sign_params(params)
        params["access_token"] = self._access_token
        return params


def sign(count: int, round: int, network: str) -> int:
    session = _Session()
    built = (
        session.build({"method": "friends.get", "fields": "uid,name", "count": 10}) for _ in range(count)
    )
    return sum(len(params["sig"]) == 32 for params in built)


serve({"sign": sign})
