import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken
from rest_framework.test import APIClient

from accounts.attempts import PER_PERSON
from accounts.tokens import sign_token
from tests.cast import PASSWORD

PASSWORD_REALM = "http://auth0.com/oauth/grant-type/password-realm"
# Parts of a token: JSON in base64.
EMPTY = base64.urlsafe_b64encode(b"{}").decode().rstrip("=")
NESTED = base64.urlsafe_b64encode(b"[" * 3_000).decode()


@pytest.fixture(autouse=True)
def _no_attempts():
    cache.clear()


@pytest.fixture
def api() -> APIClient:
    return APIClient()


def fields(**changes) -> dict:
    body = {
        "grant_type": PASSWORD_REALM,
        "username": "mara@meyer.example",
        "password": PASSWORD,
        "audience": "https://api.gridx.de",
        "realm": "eon-home-authentication-db",
        "client_id": "mG0Phmo7DmnvAqO7p6B0WOYBODppY3cc",
        "client_secret": "",
        "scope": "email openid offline_access",
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def sign_in(api: APIClient, **changes) -> dict:
    answer = api.post("/api/oauth/token", fields(**changes))
    assert answer.status_code == 200, answer.content
    return answer.json()


def refresh(api: APIClient, token: str):
    body = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "any"}
    return api.post("/api/oauth/token", body)


def me(api: APIClient, token: str):
    return api.get("/api/user", headers={"Authorization": f"Bearer {token}"})


def claims(token: str) -> dict:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def test_a_password_gets_tokens_as_a_form_and_as_json(cast, api):
    form = "application/x-www-form-urlencoded"
    as_form = api.post("/api/oauth/token", urlencode(fields()), content_type=form)
    as_json = api.post("/api/oauth/token", fields(), format="json")
    for answer in (as_form, as_json):
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {
            "access_token",
            "id_token",
            "refresh_token",
            "token_type",
            "expires_in",
            "scope",
        }
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 86_400)
        assert body["scope"] == "email openid offline_access"


def test_access_and_id_token_are_jwts_with_an_end_and_both_let_in(cast, api):
    body = sign_in(api)
    for name in ("access_token", "id_token"):
        assert abs(claims(body[name])["exp"] - time.time() - 86_400) < 60
        assert me(api, body[name]).json()["email"] == "mara@meyer.example"


@pytest.mark.parametrize("audience", ["https://api.gridx.de", "my.gridx", None])
def test_both_audiences_and_none_are_known(cast, api, audience):
    assert sign_in(api, audience=audience)


def test_another_audience_is_refused(cast, api):
    answer = api.post("/api/oauth/token", fields(audience="https://bank.example"))
    assert answer.status_code == 403
    assert answer.json()["error"] == "access_denied"


def test_without_offline_access_there_is_no_refresh_token(cast, api):
    assert "refresh_token" not in sign_in(api, scope="email openid")


def test_grid_operators_get_the_scope_to_dim_when_they_ask_for_it(cast, api):
    asked = {"username": "grid@operator.example", "scope": "openid dimming:write offline_access"}
    assert "dimming:write" not in sign_in(api, username=asked["username"])["scope"]
    body = sign_in(api, **asked)
    assert body["scope"] == claims(body["access_token"])["scope"] == asked["scope"]
    assert refresh(api, body["refresh_token"]).json()["scope"] == asked["scope"]
    assert AccessToken.objects.latest("pk").scope == asked["scope"]


@pytest.mark.parametrize("person", ["mara@meyer.example", "fleet@north.example"])
def test_nobody_else_gets_the_scope_to_dim(cast, api, person):
    assert sign_in(api, username=person, scope="openid dimming:write")["scope"] == "openid"


def test_a_scope_cannot_be_added_by_refreshing(cast, api):
    body = sign_in(api, username="grid@operator.example")
    answer = api.post(
        "/api/oauth/token",
        {
            "grant_type": "refresh_token",
            "refresh_token": body["refresh_token"],
            "client_id": "any",
            "scope": "openid dimming:write",
        },
    )
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_scope"


def test_the_e_mail_is_taken_in_any_case(cast, api):
    assert sign_in(api, username="Mara@Meyer.Example")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"password": "wrong"}, 403, "invalid_grant"),
        ({"username": "nobody@meyer.example"}, 403, "invalid_grant"),
        ({"username": None}, 400, "invalid_request"),
        ({"password": ""}, 400, "invalid_request"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"username": "mara\x00@meyer.example"}, 400, "invalid_request"),
        ({"password": ["a", "list"]}, 400, "invalid_request"),
    ],
)
def test_what_is_wrong_is_said_in_the_shape_of_oauth(cast, api, changes, status, error):
    answer = api.post("/api/oauth/token", fields(**changes))
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_wrong_password_is_answered_as_the_clients_know_it(cast, api):
    answer = api.post("/api/oauth/token", fields(password="wrong"))
    assert answer.json() == {
        "error": "invalid_grant",
        "error_description": "Wrong email or password.",
    }


@pytest.mark.parametrize(
    "body", ["{", "[]", '"text"', "null", '{"username": "\\ud800"}', "[" * 3_000]
)
def test_a_body_that_is_no_object_is_400(cast, api, body):
    answer = api.post("/api/oauth/token", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_that_is_too_long_is_told_in_json(cast, api, content_type):
    answer = api.post("/api/oauth/token", " " * 2_700_000, content_type=content_type)
    assert answer.status_code == 413
    assert answer.json()["message"]


def test_only_configured_clients_may_ask_where_some_are(cast, api, settings):
    settings.OAUTH_CLIENTS = ["ours"]
    assert api.post("/api/oauth/token", fields()).status_code == 401
    assert sign_in(api, client_id="ours")


def test_a_refresh_token_gets_new_tokens_once(cast, api):
    first = sign_in(api)
    second = refresh(api, first["refresh_token"])
    assert second.status_code == 200
    assert me(api, first["access_token"]).status_code == 403
    assert me(api, second.json()["access_token"]).status_code == 200
    assert me(api, second.json()["id_token"]).status_code == 200


def test_a_rotated_token_used_again_revokes_the_whole_family(cast, api):
    first = sign_in(api)
    second = refresh(api, first["refresh_token"]).json()
    again = refresh(api, first["refresh_token"])
    assert again.status_code == 403
    assert again.json()["error"] == "invalid_grant"
    assert me(api, second["access_token"]).status_code == 403
    assert refresh(api, second["refresh_token"]).status_code == 403


def test_a_family_revoked_leaves_other_sign_ins_alone(cast, api):
    phone, desk = sign_in(api), sign_in(api)
    refresh(api, phone["refresh_token"])
    refresh(api, phone["refresh_token"])
    assert me(api, desk["access_token"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_two_who_use_one_refresh_token_at_the_same_moment_get_one_answer(cast):
    first = sign_in(APIClient())
    barrier = Barrier(2)

    def use() -> tuple[int, dict]:
        barrier.wait()
        try:
            answer = refresh(APIClient(), first["refresh_token"])
            return answer.status_code, answer.json()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        answers = [done.result() for done in [pool.submit(use), pool.submit(use)]]
    good = [body for status, body in answers if status == 200]
    assert sorted(status for status, _body in answers) == [200, 403]
    assert all(body["access_token"] and body["refresh_token"] for body in good)


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "é"])
def test_an_invented_refresh_token_is_refused(cast, api, token):
    assert refresh(api, token).status_code in {400, 403}


def test_a_refresh_token_does_not_let_in(cast, api):
    assert me(api, sign_in(api)["refresh_token"]).status_code == 403


def test_tokens_die_with_the_password(cast, api):
    body = sign_in(api)
    cast.mara.set_password("another horse battery")
    cast.mara.save()
    assert me(api, body["access_token"]).status_code == 403
    assert me(api, body["id_token"]).status_code == 403
    assert refresh(api, body["refresh_token"]).status_code == 403


def test_tokens_die_with_the_user(cast, api):
    body = sign_in(api)
    cast.mara.is_active = False
    cast.mara.save()
    assert me(api, body["access_token"]).status_code == 403
    assert refresh(api, body["refresh_token"]).status_code == 403
    assert api.post("/api/oauth/token", fields()).status_code == 403


def test_tokens_end(cast, api):
    body = sign_in(api)
    AccessToken.objects.update(expires=timezone.now())
    assert me(api, body["access_token"]).status_code == 403
    assert refresh(api, body["refresh_token"]).status_code == 200


def test_a_refresh_token_that_nobody_uses_ends(cast, api):
    body = sign_in(api)
    AccessToken.objects.update(expires=timezone.now() - timedelta(days=31))
    assert refresh(api, body["refresh_token"]).status_code == 403


def test_the_database_holds_no_usable_token(cast, api):
    body = sign_in(api)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(t)::text FROM oauth2_provider_accesstoken t")
        kept = cursor.fetchone()[0]
        cursor.execute("SELECT row_to_json(t)::text FROM oauth2_provider_refreshtoken t")
        kept += cursor.fetchone()[0]
    for name in ("access_token", "id_token", "refresh_token"):
        assert body[name] not in kept
        assert claims(body[name])["jti"] not in kept
    row, lasting = AccessToken.objects.get(), RefreshToken.objects.get()
    assert (row.token, lasting.token) == ("", "")
    for stolen in (row.token_checksum, lasting.token_checksum):
        assert me(api, stolen).status_code == 403
        assert refresh(api, stolen).status_code == 403
        assert me(api, sign_token({"jti": stolen, "pwm": ""})).status_code == 403


def test_a_token_signed_with_another_key_is_refused(cast, api, settings):
    body = sign_in(api)
    settings.SECRET_KEY = "another"
    assert me(api, body["access_token"]).status_code == 403


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer é",
        "Bearer a.b.c.d.e",
        f"Bearer {NESTED}.{NESTED}.{NESTED}",
        f"Bearer {EMPTY}.{EMPTY}.{EMPTY}.{EMPTY}.{EMPTY}",  # as encrypted ones look
    ],
)
def test_an_odd_header_is_403_with_a_message(cast, api, header):
    answer = api.get(
        "/api/user", headers={"Authorization": header.encode("latin-1").decode("latin-1")}
    )
    assert answer.status_code == 403
    assert answer.json()["message"]


def test_many_wrong_passwords_have_to_wait(cast, api):
    for _ in range(PER_PERSON):
        assert api.post("/api/oauth/token", fields(password="wrong")).status_code == 403
    answer = api.post("/api/oauth/token", fields())
    assert answer.status_code == 429
    assert answer.json()["error"] == "too_many_attempts"
    assert int(answer["Retry-After"]) > 0
    assert sign_in(api, username="jo@schmidt.example")


def test_a_right_password_forgives_the_wrong_ones(cast, api):
    for _ in range(3):
        for _ in range(PER_PERSON - 1):
            api.post("/api/oauth/token", fields(password="wrong"))
        assert sign_in(api)


def test_a_session_of_the_pages_may_read_but_writes_need_its_csrf_token(cast):
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(cast.mara)
    assert browser.get("/api/user").json()["email"] == "mara@meyer.example"
    assert browser.post("/api/user").status_code == 403


def test_signing_in_needs_no_csrf_token(cast):
    assert sign_in(APIClient(enforce_csrf_checks=True))
