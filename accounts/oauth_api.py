"""Sign-in on the wire API: `POST /api/oauth/token`."""

import json

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.attempts import TooManyAttempts, count_attempt, forgive_attempts
from accounts.oauth import PASSWORD_REALM, OAuthCore


class TokenRequestSerializer(serializers.Serializer):
    """What clients send to get a token; as a form or as JSON."""

    grant_type = serializers.CharField(required=False, allow_blank=True)
    username = serializers.CharField(required=False, allow_blank=True)
    password = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    refresh_token = serializers.CharField(required=False, allow_blank=True)
    client_id = serializers.CharField(required=False, allow_blank=True)
    client_secret = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    audience = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    realm = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    scope = serializers.CharField(required=False, allow_blank=True, allow_null=True)


class TokenSerializer(serializers.Serializer):
    access_token = serializers.CharField()
    id_token = serializers.CharField()
    refresh_token = serializers.CharField(
        required=False, help_text="Where the scope `offline_access` was asked for."
    )
    token_type = serializers.CharField(help_text="Bearer")
    expires_in = serializers.IntegerField(help_text="s")
    scope = serializers.CharField()


class TokenErrorSerializer(serializers.Serializer):
    error = serializers.CharField()
    error_description = serializers.CharField(required=False)


@method_decorator(
    sensitive_post_parameters("password", "client_secret", "refresh_token"), name="dispatch"
)
class TokenView(APIView):
    """Signs in by e-mail and password, and exchanges a refresh token for new tokens."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (JSONParser, FormParser)

    @extend_schema(
        operation_id="createToken",
        tags=["oauth"],
        auth=[],
        request={
            "application/json": TokenRequestSerializer,
            "application/x-www-form-urlencoded": TokenRequestSerializer,
        },
        responses={
            200: TokenSerializer,
            400: TokenErrorSerializer,
            403: TokenErrorSerializer,
            429: TokenErrorSerializer,
        },
    )
    @method_decorator(sensitive_variables("fields"))
    def post(self, request: Request) -> Response:
        try:
            fields = TokenRequestSerializer(data=request.data)
        except ParseError as problem:
            return _refuse(400, "invalid_request", str(problem))
        if not fields.is_valid():
            name, problems = next(iter(fields.errors.items()))
            return _refuse(400, "invalid_request", f"{name}: {problems[0]}")
        if fields.validated_data.get("grant_type") != PASSWORD_REALM:
            return _answer(request)
        attempt = {
            "email": fields.validated_data.get("username", ""),
            "address": BaseThrottle().get_ident(request),
        }
        try:
            count_attempt(**attempt)
        except TooManyAttempts as refusal:
            answer = _refuse(429, "too_many_attempts", str(refusal))
            answer["Retry-After"] = str(refusal.wait_s)
            return answer
        answer = _answer(request)
        if answer.status_code == 200:
            forgive_attempts(**attempt)
        return answer


@sensitive_variables("body", "content")
def _answer(request: Request) -> Response:
    """The toolkit's answer, with the status that the field's clients know."""
    _, headers, body, status = OAuthCore().create_token_response(request)
    content = json.loads(body)
    if content.get("error") == "invalid_grant":
        status = 403
    headers.pop("Content-Type", None)
    return Response(content, status=status, headers=headers)


def _refuse(status: int, error: str, description: str) -> Response:
    return Response({"error": error, "error_description": description}, status=status)
