"""Who is asking the API: the bearer of a token."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed

from accounts.oauth import find_access_token
from accounts.tokens import UnusableToken, is_of_today, read_token


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` with an access token or an id token.

    It names no scheme for a 401, so a bad token is answered with 403 like no token: clients of
    the wire API sign in again on that.
    """

    def authenticate(self, request):
        scheme, _, raw = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            claims = read_token(raw.decode("ascii").strip())
        except (UnusableToken, UnicodeDecodeError) as problem:
            raise AuthenticationFailed("This token is not valid.") from problem
        row = find_access_token(claims)
        if row is None or not row.is_valid() or not is_of_today(claims, row.user):
            raise AuthenticationFailed("This token is not valid any more.")
        return row.user, row


class BearerScheme(OpenApiAuthenticationExtension):
    """How the API's description tells of it."""

    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema) -> dict:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token or the id token of `POST /oauth/token`.",
        }
