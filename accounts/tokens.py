"""The tokens that clients carry: JWTs of our own signing, good for nothing without their row.

A token says who it is of and until when, so that clients can read its `exp`; what decides is the
row that its random `jti` leads to (`accounts.oauth`). The database keeps only checksums, so that a
leak of it gives no token; and without the secret key nobody can sign one. Every token carries a
mark of the password it was got with: change the password, and all tokens are void.

Tokens live in real time, whatever `GRIDX_CLOCK` says: clients compare `exp` with their own clock.
"""

from functools import lru_cache

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac
from jwcrypto.common import JWException, base64url_encode, json_decode
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from accounts.models import User

_ALGORITHM = "HS256"


class UnusableToken(Exception):
    """The token was not signed here, is malformed, or is over."""


def sign_token(claims: dict) -> str:
    """The JWT with these claims."""
    token = JWT(header={"alg": _ALGORITHM, "typ": "JWT"}, claims=claims)
    token.make_signed_token(_key(settings.SECRET_KEY))
    return token.serialize()


def read_token(raw: str) -> dict:
    """The claims of a JWT that was signed here and is not over. Raises UnusableToken."""
    try:
        token = JWT(jwt=raw, key=_key(settings.SECRET_KEY), algs=[_ALGORITHM], expected_type="JWS")
        return json_decode(token.claims)
    except (JWException, ValueError, TypeError) as problem:  # a TypeError where it is encrypted
        raise UnusableToken(str(problem)) from problem


def password_mark(user: User) -> str:
    """What changes with the user's password, and does not tell it."""
    return salted_hmac("accounts.tokens.password", user.password, algorithm="sha256").hexdigest()


def is_of_today(claims: dict, user: User) -> bool:
    """Whether the user may still act by these claims: active, and with the same password."""
    return user.is_active and constant_time_compare(claims.get("pwm", ""), password_mark(user))


@lru_cache(maxsize=4)
def _key(secret: str) -> JWK:
    derived = salted_hmac("accounts.tokens.key", b"", secret=secret, algorithm="sha256").digest()
    return JWK(kty="oct", k=base64url_encode(derived))
