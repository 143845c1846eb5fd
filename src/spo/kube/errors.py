"""What can go wrong between us and the API server: one class per situation a caller may handle."""

from typing import Final

import msgspec

from spo.errors import SpoError, TerminalError


class StatusCause(msgspec.Struct, rename="camel", omit_defaults=True):
    """One reason of a refusal, with the field it is about."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, rename="camel", omit_defaults=True):
    """Details of a ``metav1.Status``."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: list[StatusCause] | None = None
    retry_after_seconds: int = 0


class Status(msgspec.Struct, rename="camel", omit_defaults=True):
    """A ``metav1.Status``, the body of every refusal of the API server."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int = 0


class KubeError(SpoError):
    """Base of everything that this package raises about the API server."""


class KubeConfigError(TerminalError):
    """The configuration that should lead to the API server is missing or unusable."""


class ConnectionFailedError(KubeError):
    """No complete answer came: refused, reset, cut, timed out. The request may have been carried out."""

    def __init__(self, request: str, cause: str, *, reset: bool = False) -> None:
        super().__init__(request, cause)
        self.request = request
        self.cause = cause
        self.reset = reset
        """The connection broke while it was in use, as an idle one does that the server closed."""

    def __str__(self) -> str:
        return f"no answer from the API server to {self.request}: {self.cause}"


class WatchSilentError(ConnectionFailedError):
    """A watch brought nothing for so long that its connection may be dead."""


class MalformedResponseError(KubeError):
    """An answer came, but it is not what the API says: broken JSON, a watch line without end."""

    def __init__(self, request: str, problem: str) -> None:
        super().__init__(request, problem)
        self.request = request
        self.problem = problem

    def __str__(self) -> str:
        return f"the API server's answer to {self.request} makes no sense: {self.problem}"


class ResponseTooLargeError(MalformedResponseError):
    """An answer is larger than we are willing to hold in memory; ask for fewer objects at once."""


class UnreadableObjectError(TerminalError):
    """The object exists, but its content does not fit our types. Not the same as absent."""

    def __init__(self, kind: str, namespace: str, name: str, problem: str) -> None:
        super().__init__(kind, namespace, name, problem)
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"cannot read {self.kind} {where}: {self.problem}; correct the object"


class ApiError(KubeError):
    """The API server refused; ``message`` is its own text."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: StatusDetails | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, reason, message, details, retry_after_s)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"{self.message} ({self.code} {self.reason})" if self.reason else f"{self.message} ({self.code})"
        )


class UnauthorizedError(ApiError):
    """401: the token or certificate is not accepted, even after reading it again."""


class ForbiddenError(ApiError):
    """403: a rule is missing, or the namespace is being deleted."""


class NamespaceTerminatingError(ForbiddenError):
    """403: nothing new can be made in a namespace that is being deleted."""


class NotFoundError(ApiError):
    """404: the object, or the whole kind, does not exist."""


class ConflictError(ApiError):
    """409: the object changed since it was read, or another field manager owns a field."""


class AlreadyExistsError(ApiError):
    """409 on create: the name is taken."""


class GoneError(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class InvalidError(ApiError):
    """400 and 422: the server does not accept this content."""


class TooManyRequestsError(ApiError):
    """429: come back after ``retry_after_s``."""


class ServerError(ApiError):
    """5xx: the server failed; trying again later may help."""


_TERMINATING: Final = "NamespaceTerminating"

_BY_CODE: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: TooManyRequestsError,
}


def api_error(code: int, status: Status, retry_after_s: float | None = None) -> ApiError:
    """The error class for an HTTP status code, or for the code inside a watch ERROR event."""
    kind = _BY_CODE.get(code, ServerError if code >= 500 else ApiError)
    if status.reason == "AlreadyExists":
        kind = AlreadyExistsError
    elif kind is ForbiddenError and _is_terminating(status):
        kind = NamespaceTerminatingError
    if retry_after_s is None and status.details and status.details.retry_after_seconds:
        retry_after_s = float(status.details.retry_after_seconds)
    return kind(code, status.reason, status.message or "no message", status.details, retry_after_s)


def _is_terminating(status: Status) -> bool:
    causes = (status.details.causes if status.details else None) or ()
    return any(cause.reason == _TERMINATING for cause in causes)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later without anybody changing anything."""
    return isinstance(
        error, ConnectionFailedError | MalformedResponseError | TooManyRequestsError | ServerError
    )
