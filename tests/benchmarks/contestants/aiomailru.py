"""aiomailru: a dict of parameters, signed."""

from aiomailru.sessions import TokenSession

from .work import serve


class _Session(TokenSession):
    """What its `request()` does before it sends."""

    def __init__(self) -> None:
        self.app_id, self.private_key, self.secret_key = "700000", "", "s" * 32
        self.session_key, self.uid = "t" * 60, ""

    def build(self, params):
        params = {k: params[k] for k in params if params[k]}
        params.update(self.required_params)
        params.update({"sig": self.sign_params(params)})
        return params


def sign(count: int, round: int, network: str) -> int:
    session = _Session()
    built = (
        session.build({"method": "friends.get", "fields": "uid,name", "count": 10}) for _ in range(count)
    )
    return sum(len(params["sig"]) == 32 for params in built)


serve({"sign": sign})
