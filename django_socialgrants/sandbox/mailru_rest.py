"""Mail.Ru's REST API: https://api.mail.ru/docs/guides/restapi/.

The texts of the errors, their HTTP status and the order of the checks are guesses.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_http_methods

from .failures import CALL
from .gate import endpoint
from .mailru_methods import METHODS
from .mailru_oauth import CONTENT_TYPE
from .models import AccessToken, Application
from .networks import MAILRU
from .rehearsal import rehearsed
from .rest import Call, Fault, Method
from .signatures import mailru_client_signature, mailru_server_signature
from .tokens import Reason
from .web import Repeated, single_values

_SESSION_EXPIRED = 102, "User authorization failed: the session key or uid is incorrect"


def _rehearsed_refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    """The only reason for which a call can be refused in a rehearsal."""
    return _refusal(Fault(*_SESSION_EXPIRED))


@endpoint
@require_http_methods(["GET", "POST"])
@rehearsed(MAILRU, lambda request: CALL, _rehearsed_refusal)
def call(request: HttpRequest) -> HttpResponse:
    """Signed with the secret key (server circuit: secure=1), or with user id and private key (client)."""
    try:
        return _json(_run(single_values(request.GET, request.POST)))
    except Repeated as error:
        return _refusal(_invalid(str(error)))
    except Fault as fault:
        return _refusal(fault)


def _run(params: dict[str, str]) -> object:
    for required in ("method", "app_id", "sig"):
        if not params.get(required):
            raise _invalid(required)
    if params.get("format", "json") != "json":
        raise _invalid("format")
    method = METHODS.get(params["method"])
    if method is None:
        raise Fault(2, "Unknown method called")
    application = Application.find(MAILRU, client_id=params["app_id"])
    if application is None:
        raise Fault(103, "Application lookup failed")
    session = _session(application, method, params)
    uid = session.uid if session else params.get("uid", "")
    _check_signature(application, uid, params)
    if session and method.scope and method.scope not in session.scopes:
        raise Fault(200, "Application does not have permission to perform this action")
    for required in method.required:
        if required not in params:
            raise _invalid(required)
    return method.run(Call(application, params, session, uid))


def _session(application: Application, method: Method, params: dict[str, str]) -> AccessToken | None:
    """A call without session needs the secret key: the private key may be public."""
    token = params.get("session_key", "")
    if not token and method.sessionless and _is_server(params):
        return None
    session = AccessToken.find(application, token)
    if session is None or not session.alive:
        raise Fault(*_SESSION_EXPIRED)
    return session


def _check_signature(application: Application, uid: str, params: dict[str, str]) -> None:
    if _is_server(params):
        signature = mailru_server_signature(params, application.client_secret)
    else:
        signature = mailru_client_signature(params, uid, application.client_key)
    if not constant_time_compare(params["sig"], signature):
        raise Fault(104, "Incorrect signature")


def _is_server(params: dict[str, str]) -> bool:
    """Whether the call is in the server circuit: secure=1, which is signed like any parameter."""
    if params.get("secure", "0") not in ("0", "1"):
        raise _invalid("secure")
    return params.get("secure") == "1"


def _invalid(name: str) -> Fault:
    return Fault(100, f"One of the parameters specified is missing or invalid: {name}")


def _json(result: object) -> HttpResponse:
    return JsonResponse(
        result, safe=False, content_type=CONTENT_TYPE, json_dumps_params={"ensure_ascii": False}
    )


def _refusal(fault: Fault) -> HttpResponse:
    return _json({"error": {"error_code": fault.code, "error_msg": fault.message}})
