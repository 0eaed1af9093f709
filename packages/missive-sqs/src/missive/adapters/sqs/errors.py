# boto3 has no types of its own.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""What SQS answers when it will not serve, and which of that a new attempt may mend."""

from __future__ import annotations

import ssl
from enum import Enum
from typing import NoReturn

from botocore import exceptions
from botocore.parsers import ResponseParserError
from missive.errors import TransportRefused

#: Every error that boto3 raises for a call, and what it lets through from the network.
BOTO_ERRORS = (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError, OSError)


class Kind(Enum):
    """What an error means for the adapter."""

    #: The service asks for fewer calls: wait, and go on.
    THROTTLED = "throttled"
    #: The service cannot be reached or fails: connect again, with pauses.
    UNAVAILABLE = "unavailable"
    #: The credentials are no longer valid: read them again, and connect again.
    EXPIRED = "expired"
    #: The queue is not there.
    MISSING = "missing"
    #: One entry of a batch, or its receipt handle, is not taken.
    ENTRY = "entry"
    #: Nothing but a person mends it.
    REFUSED = "refused"


_KINDS = {
    Kind.THROTTLED: (
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "KmsThrottled",
        "OverLimit",
        "SlowDown",
    ),
    Kind.EXPIRED: ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
    Kind.MISSING: ("QueueDoesNotExist", "NonExistentQueue"),
    Kind.ENTRY: (
        "ReceiptHandleIsInvalid",
        "MessageNotInflight",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "InvalidIdFormat",
    ),
    Kind.UNAVAILABLE: (
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "RequestTimeTooSkewed",
        "RequestExpired",
        "RequestTimeout",
    ),
}
_BY_CODE = {code: kind for kind, codes in _KINDS.items() for code in codes}

_SKEW = "the clock of this machine differs from that of AWS; synchronise it (NTP)"
_KEYS = "check the access key that boto3 finds (environment, profile or role)"
_REMEDIES = {
    "AccessDenied": "grant the role or user the actions that the documentation lists",
    "AccessDeniedException": "grant the role or user the actions that the documentation lists",
    "NonExistentQueue": "create the queue, or check its name, region and account",
    "QueueDoesNotExist": "create the queue, or check its name, region and account",
    "InvalidClientTokenId": _KEYS,
    "UnrecognizedClientException": _KEYS,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "IncompleteSignature": _KEYS,
    "MissingAuthenticationToken": _KEYS,
    "ExpiredToken": "renew the session's credentials",
    "ExpiredTokenException": "renew the session's credentials",
    "RequestTimeTooSkewed": _SKEW,
    "RequestExpired": _SKEW,
    "InvalidAddress": "check the URL of the queue",
    "InvalidSecurity": "use an endpoint that speaks HTTPS",
}
_KMS = "grant the role or user kms:Decrypt on the queue's key, and check that the key is enabled"
_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with AWS_PROFILE, or run with"
    " a role; boto3 looks there"
)
#: What boto3 says before it has asked anybody, with the remedy.
_CONFIGURATION: tuple[tuple[type[Exception], str, str], ...] = (
    (
        exceptions.NoRegionError,
        "no region is set",
        "pass region=, add ?region= to the URL, or set AWS_DEFAULT_REGION",
    ),
    (exceptions.InvalidRegionError, "the region is not valid", "check region="),
    (exceptions.NoCredentialsError, "boto3 found no credentials", _CREDENTIALS),
    (exceptions.PartialCredentialsError, "the credentials are incomplete", _CREDENTIALS),
    (exceptions.ProfileNotFound, "the profile does not exist", "check AWS_PROFILE"),
    (exceptions.ConfigNotFound, "the configuration file does not exist", "check AWS_CONFIG_FILE"),
    (exceptions.ConfigParseError, "the configuration file cannot be read", "check ~/.aws/config"),
    (exceptions.SSOError, "the single sign-on session is not valid", "run aws sso login"),
    (exceptions.TokenRetrievalError, "the single sign-on session is over", "run aws sso login"),
    (exceptions.ParamValidationError, "boto3 refused a parameter", "check the options"),
    (exceptions.InvalidConfigError, "the configuration of boto3 is not valid", "check ~/.aws"),
)


class SQSUnavailable(Exception):
    """SQS cannot be reached, or cannot serve now; later it can.

    :ivar safe_text: what SQS or the client said; it holds no content.
    :ivar expired: whether the credentials were no longer valid.
    """

    safe_text = ""

    def __init__(self, text: str, *, expired: bool = False) -> None:
        super().__init__(text)
        self.safe_text = text
        self.expired = expired


class SQSRefused(TransportRefused):
    """SQS refused in a way that trying again does not mend; see ``__cause__``.

    :ivar code: what SQS calls the error, such as ``AccessDenied``, or the name of boto3's.
    """

    def __init__(self, adapter: object, code: str, said: str, remedy: str) -> None:
        self.code = code
        # The base class knows the error's type alone; SQS says more, and no payload.
        super(TransportRefused, self).__init__(
            f"{type(adapter).__name__} was refused: {said}; {remedy}"
        )


def code_of(error: BaseException) -> str:
    """Return what SQS calls an error, without the prefix of older protocols; else its type."""
    if isinstance(error, exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        return code.rpartition(".")[2].rpartition("#")[2] or "an error without a code"
    return type(error).__name__


def said_by(error: BaseException) -> str:
    """Return what SQS said, or the kind of error; neither holds content."""
    if isinstance(error, exceptions.ClientError):
        said = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
        return f"{code_of(error)} in {error.operation_name}" + (f" ({said})" if said else "")
    return type(error).__name__


def kind_of(error: BaseException) -> Kind:
    """Return what an error of boto3 means for the adapter."""
    if not isinstance(error, exceptions.ClientError):
        is_configuration = isinstance(error, tuple(row[0] for row in _CONFIGURATION))
        return Kind.REFUSED if is_configuration or _tls_problem(error) else Kind.UNAVAILABLE
    code = code_of(error)
    if code in _BY_CODE:
        return _BY_CODE[code]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 429:
        return Kind.THROTTLED
    if _is_skew(error):
        return Kind.UNAVAILABLE
    # What is no HTTP error of a service with a code came from something between.
    return Kind.REFUSED if 400 <= status < 500 else Kind.UNAVAILABLE


def raise_as(error: Exception, adapter: object, *, running: bool) -> NoReturn:
    """Raise an error of boto3 as what it means.

    :param running: the queue was read before, so a missing one may appear again, and expired
        credentials be renewed.
    :raises SQSRefused: no new attempt mends it.
    :raises SQSUnavailable: a new attempt may.
    """
    kind, code, said = kind_of(error), code_of(error), said_by(error)
    waits = kind in (Kind.UNAVAILABLE, Kind.THROTTLED)
    if waits or (running and kind in (Kind.MISSING, Kind.EXPIRED)):
        hint = _SKEW if _is_skew(error) else _REMEDIES.get(code)
        text = f"{said}; {hint}" if hint else said
        raise SQSUnavailable(text, expired=kind is Kind.EXPIRED) from error
    remedy = _REMEDIES.get(code, "check the credentials, the queue and the options")
    if code.startswith("Kms"):
        remedy = _KMS
    for cls, text, known in _CONFIGURATION:
        if isinstance(error, cls):
            said, remedy = text, known
            break
    if _tls_problem(error):
        said = "the certificate of the endpoint is not valid for this client"
        remedy = "check the endpoint, and the certificate authority (AWS_CA_BUNDLE)"
    raise SQSRefused(adapter, code, said, remedy) from error


def _is_skew(error: BaseException) -> bool:
    """Return whether a signature was refused because of the time in it."""
    if not isinstance(error, exceptions.ClientError):
        return False
    said = str(error.response.get("Error", {}).get("Message", ""))
    return code_of(error) in ("RequestTimeTooSkewed", "RequestExpired") or (
        "Signature expired" in said or "Signature not yet current" in said
    )


def _tls_problem(error: BaseException | None) -> bool:
    """Return whether the endpoint's certificate could not be verified."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        inner = [*error.args, getattr(error, "reason", None), getattr(error, "kwargs", {})]
        inner += [part.get("error") for part in inner if isinstance(part, dict)]
        causes = [part for part in inner if isinstance(part, BaseException)]
        error = error.__cause__ or (causes[0] if causes else error.__context__)
    return False
