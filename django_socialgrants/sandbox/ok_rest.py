"""OK's REST API: https://apiok.ru/dev/methods. Errors have HTTP status 200.

The texts of errors 3 and 10 and the order of the checks are guesses.
"""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_http_methods

from .failures import CALL
from .gate import endpoint
from .models import AccessToken, Application
from .networks import OK
from .ok_methods import METHODS, NOT_ALLOWED, WRONG_PASSWORD
from .rehearsal import rehearsed
from .rest import Call, Fault, Method
from .signatures import ok_session_secret, ok_signature
from .tokens import Reason
from .web import Repeated, single_values

_CONTENT_TYPE = "application/json;charset=utf-8"
_INVALID_KEY = 101, "PARAM_API_KEY : Invalid application key"
_SESSION_EXPIRED = 102, "PARAM_SESSION_EXPIRED : Session expired"

_REHEARSED = {
    Reason.CLIENT: _INVALID_KEY,
    Reason.GRANT_NOT_ALLOWED: NOT_ALLOWED,
    Reason.PASSWORD: WRONG_PASSWORD,
    Reason.SESSION_EXPIRED: _SESSION_EXPIRED,
}


def _method_name(request: HttpRequest, group: str = "", name: str = "") -> str:
    return f"{group}.{name}" if group else request.POST.get("method") or request.GET.get("method", "")


def _occasion(request: HttpRequest, group: str = "", name: str = "") -> str:
    method = METHODS.get(_method_name(request, group, name))
    return "password" if method and method.login else CALL


def _rehearsed_refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    return _refusal(Fault(*_REHEARSED[reason]))


@endpoint
@require_http_methods(["GET", "POST"])
@rehearsed(OK, _occasion, _rehearsed_refusal)
def call(request: HttpRequest, group: str = "", name: str = "") -> HttpResponse:
    """fb.do?method=group.name, or api/group/name, where the method is not part of the signature."""
    try:
        params = single_values(request.GET, request.POST)
        method = _method(_method_name(request, group, name))
        if method.login and (request.method != "POST" or request.GET.keys() - {"method"}):
            raise Fault(4, "REQUEST : A password belongs into the body of a POST")
        return _json(_run(method, params))
    except Repeated as error:
        return _refusal(Fault(100, f"PARAM : Repeated parameter {error}"))
    except Fault as fault:
        return _refusal(fault)


def _method(name: str) -> Method:
    method = METHODS.get(name)
    if method is None:
        raise Fault(3, f"METHOD : Unknown method {name}" if name else "METHOD : No method specified")
    return method


def _run(method: Method, params: dict[str, str]) -> object:
    application = _application(params)
    session = _session(application, method, params)
    if params.get("sig") or not method.login:
        _check_signature(application, session, params)
    if session and method.scope and method.scope not in session.scopes:
        raise Fault(10, f"PERMISSION_DENIED : The session lacks {method.scope}")
    for required in method.required:
        if required not in params:
            raise Fault(100, f"PARAM : Missing required parameter {required}")
    if session:
        _prolong(session)
    return method.run(Call(application, params, session, session.uid if session else ""))


def _application(params: dict[str, str]) -> Application:
    key = params.get("application_key", "")
    if not key:
        raise Fault(101, "PARAM_API_KEY : No application key")
    application = Application.find(OK, client_key=key)
    if application is None:
        raise Fault(*_INVALID_KEY)
    return application


def _session(application: Application, method: Method, params: dict[str, str]) -> AccessToken | None:
    token = params.get("access_token") or params.get("session_key", "")
    if not token and method.sessionless:
        return None
    if not token:
        raise Fault(100, "PARAM : Missed required parameter: access_token")
    session = AccessToken.find(application, token)
    if session is None:
        raise Fault(103, "PARAM_SESSION_KEY : Invalid session key")
    if not session.alive:
        raise Fault(*_SESSION_EXPIRED)
    return session


def _check_signature(application: Application, session: AccessToken | None, params: dict[str, str]) -> None:
    """A session with a secret of its own may be used in either circuit."""
    if not params.get("sig"):
        raise Fault(104, "PARAM_SIGNATURE : No signature specified")
    accepted = [application.client_secret]
    if session:
        accepted = [ok_session_secret(session.value, application.client_secret), session.session_secret]
    signatures = [ok_signature(params, secret) for secret in accepted if secret]
    if not any(constant_time_compare(params["sig"], signature) for signature in signatures):
        raise Fault(104, "PARAM_SIGNATURE : Invalid signature")


def _prolong(session: AccessToken) -> None:
    """Any call prolongs a long session, but at most once a day."""
    left = session.expires_at - timezone.now()
    if "LONG_ACCESS_TOKEN" in session.scopes and left < session.lifetime - timedelta(days=1):
        session.prolong()


def _json(result: object) -> HttpResponse:
    """Any JSON value may be a result: users.getLoggedInUser answers with a bare string."""
    return JsonResponse(
        result, safe=False, content_type=_CONTENT_TYPE, json_dumps_params={"ensure_ascii": False}
    )


def _refusal(fault: Fault) -> HttpResponse:
    response = _json({"error_code": fault.code, "error_msg": fault.message, "error_data": fault.data})
    response["Invocation-Error"] = str(fault.code)
    return response
