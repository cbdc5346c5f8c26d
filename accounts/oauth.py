"""Sign-in for the clients of the wire API: OAuth 2 by django-oauth-toolkit and oauthlib.

The toolkit keeps the tokens (only checksums of them), rotates refresh tokens and revokes a whole
family when a rotated one is used again. Ours is what the field's clients need besides: Auth0's
grant by password and realm, bodies in JSON, any of the configured client ids, and an id token
that is accepted like the access token.
"""

import hashlib
import secrets
import time

from django.conf import settings
from oauth2_provider.models import AccessToken, Application
from oauth2_provider.oauth2_backends import OAuthLibCore
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2 import (
    BearerToken,
    RefreshTokenGrant,
    ResourceOwnerPasswordCredentialsGrant,
    TokenEndpoint,
)
from oauthlib.oauth2.rfc6749 import errors

from accounts.access import DIMMING, Role
from accounts.tokens import UnusableToken, is_of_today, password_mark, read_token, sign_token

PASSWORD_REALM = "http://auth0.com/oauth/grant-type/password-realm"  # noqa: S105 - a name
REFRESH = "refresh_token"
SCOPES = ("openid", "email", "profile", "offline_access", DIMMING)

# Clients of the field are public: their ids stand in their sources. One row stands for them all.
_SHARED_CLIENT = "gridx"


class UnknownAudience(errors.CustomOAuth2Error):
    """The token is wanted for an API that is not ours."""

    def __init__(self, audience: str, request):
        super().__init__("access_denied", f"Service not found: {audience}", request=request)
        self.status_code = 403


class PasswordRealmGrant(ResourceOwnerPasswordCredentialsGrant):
    """Auth0's password grant with a realm. There is one set of users: any realm will do."""

    def validate_token_request(self, request):
        for name in ("username", "password"):
            if not getattr(request, name, None):
                raise errors.InvalidRequestError(f"Missing required parameter: {name}")
        for name in ("grant_type", "username", "password", "scope"):
            if name in request.duplicate_params:
                raise errors.InvalidRequestError(f"Duplicate parameter: {name}")
        if audience_of(request) not in settings.OAUTH_AUDIENCES:
            raise UnknownAudience(audience_of(request), request)
        self.validate_client_authentication(request)
        if not self.request_validator.validate_user(
            request.username, request.password, request.client, request
        ):
            raise errors.InvalidGrantError("Wrong email or password.", request=request)
        self.validate_grant_type(request)
        self.validate_scopes(request)


class RotatingGrant(RefreshTokenGrant):
    """The refresh grant, which must not hand on the error of a token that was used before."""

    def validate_token_request(self, request):
        try:
            super().validate_token_request(request)
        except errors.InvalidGrantError as error:
            raise errors.InvalidGrantError(
                "Unknown or invalid refresh token.", request=request
            ) from error


class SignedTokens(BearerToken):
    """Access, id and refresh token: JWTs; the first two share the `jti` of one row."""

    def create_token(self, request, refresh_token=False, **kwargs):
        request.token_key = secrets.token_urlsafe(32)
        lasting = refresh_token and "offline_access" in request.scopes
        token = super().create_token(request, refresh_token=lasting, **kwargs)
        token["id_token"] = make_id_token(request)
        return token


class TokenServer(TokenEndpoint):
    """The token endpoint with its two grants, as the toolkit asks for it."""

    def __init__(self, request_validator, *, token_expires_in, **kwargs):
        tokens = SignedTokens(
            request_validator, make_access_token, token_expires_in, make_refresh_token
        )
        super().__init__(
            default_grant_type="none",
            default_token_type=tokens,
            grant_types={
                PASSWORD_REALM: PasswordRealmGrant(request_validator),
                REFRESH: RotatingGrant(request_validator),
                "none": _NoGrant(),
            },
        )


class _NoGrant:
    """Every other grant."""

    def create_token_response(self, request, token_handler):
        error = errors.UnsupportedGrantTypeError(request=request)
        return dict(error.headers), error.json, error.status_code


class OAuthCore(OAuthLibCore):
    """Takes the fields as the API parsed them, from a form or from JSON alike."""

    def extract_body(self, request):
        return [(name, str(value)) for name, value in request.data.items() if value is not None]


class TokenValidator(OAuth2Validator):
    """Who may have a token, and which row it is."""

    def client_authentication_required(self, request, *args, **kwargs):
        return False

    def _load_application(self, client_id, request):
        if request.client is None:
            known = settings.OAUTH_CLIENTS
            if not client_id or (known and client_id not in known):
                return None
            request.client, _ = Application.objects.get_or_create(
                client_id=_SHARED_CLIENT,
                defaults={
                    "name": "Clients of the wire API",
                    "client_type": Application.CLIENT_PUBLIC,
                    "authorization_grant_type": Application.GRANT_PASSWORD,
                },
            )
            # oauthlib insists that the client goes by the id that it asked with.
            request.asking_client_id, request.client_id = client_id, _SHARED_CLIENT
        return request.client

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        return grant_type in {PASSWORD_REALM, REFRESH}

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs):
        """Leave out what is not known or not theirs; as OAuth has it, the answer says what is left.

        The user is known here: the password comes before the scopes.
        """
        may_dim = request.user.role == Role.GRID_OPERATOR
        request.scopes = [
            scope for scope in scopes if scope in SCOPES and (scope != DIMMING or may_dim)
        ]
        return True

    def get_default_scopes(self, client_id, request, *args, **kwargs):
        return ["openid", "email"]

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs):
        try:
            claims = read_token(refresh_token)
        except UnusableToken:
            return False
        if not super().validate_refresh_token(refresh_token, client, request, *args, **kwargs):
            return False
        return is_of_today(claims, request.user)

    def _save_bearer_token(self, token, request, *args, **kwargs):
        super()._save_bearer_token(token, request, *args, **kwargs)
        if not token["access_token"]:
            # Two used one refresh token at the same moment. The toolkit gives the second what the
            # first got, which is not kept readable anywhere.
            raise errors.InvalidGrantError("Unknown or invalid refresh token.", request=request)

    def _create_access_token(self, expires, request, token, source_refresh_token=None):
        # The toolkit would look for the id token among those of its OpenID provider.
        kept = {name: value for name, value in token.items() if name != "id_token"}
        kept["access_token"] = request.token_key
        return super()._create_access_token(expires, request, kept, source_refresh_token)


def find_access_token(claims: dict) -> AccessToken | None:
    """The row of an access or id token, with its user and their account; None when revoked."""
    checksum = hashlib.sha256(str(claims.get("jti", "")).encode()).hexdigest()
    return (
        AccessToken.objects.select_related("user__account").filter(token_checksum=checksum).first()
    )


def audience_of(request) -> str:
    """The API that the token is wanted for; ours, where nothing is said."""
    return getattr(request, "audience", None) or settings.OAUTH_AUDIENCES[0]


def make_access_token(request) -> str:
    scope = " ".join(request.scopes)
    return sign_token(_claims(request) | {"aud": audience_of(request), "scope": scope})


def make_id_token(request) -> str:
    user = request.user
    about = {"email": user.email, "name": user.full_name or user.email}
    return sign_token(_claims(request) | {"aud": request.asking_client_id} | about)


def make_refresh_token(request) -> str:
    """Has no `exp`: every use of it moves its end, which stands in the database."""
    mark = password_mark(request.user)
    return sign_token({"jti": secrets.token_urlsafe(32), "sub": str(request.user.pk), "pwm": mark})


def _claims(request) -> dict:
    now = int(time.time())
    return {
        "iss": f"{settings.PUBLIC_URL}/",
        "sub": str(request.user.pk),
        "iat": now,
        "exp": now + request.expires_in,
        "jti": request.token_key,
        "pwm": password_mark(request.user),
    }
