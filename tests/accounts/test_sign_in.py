import pytest
from django.conf import settings
from django.core.cache import cache
from django.utils import translation

from accounts.attempts import MAIL, PER_PERSON
from accounts.models import OutboxMessage, User
from tests.cast import PASSWORD


@pytest.fixture(autouse=True)
def _no_attempts():
    cache.clear()


def _sign_in(client, email, password=PASSWORD, **extra):
    return client.post("/sign-in", {"username": email, "password": password}, **extra)


def test_somebody_signs_in_with_the_e_mail_in_any_case_and_goes_on(cast, client):
    response = client.post(
        "/sign-in?next=/profile", {"username": "MARA@meyer.example", "password": PASSWORD}
    )
    assert response.url == "/profile"
    assert client.get("/profile").status_code == 200


def test_sign_in_goes_on_to_pages_of_this_site_only(cast, client):
    response = client.post(
        "/sign-in?next=https://evil.example/",
        {"username": cast.mara.email, "password": PASSWORD},
    )
    assert response.url == "/"


def test_the_page_speaks_the_language_of_the_user_from_then_on(cast, client):
    User.objects.filter(pk=cast.mara.pk).update(language="de")
    response = _sign_in(client, cast.mara.email)
    assert response.cookies[settings.LANGUAGE_COOKIE_NAME].value == "de"


@pytest.mark.parametrize("chosen", [True, False], ids=["by a cookie", "by the browser"])
def test_who_never_chose_a_language_keeps_that_of_the_sign_in_page(cast, client, chosen):
    if chosen:
        client.post("/language", {"language": "de", "next": "/sign-in"})
    german = {} if chosen else {"Accept-Language": "de"}
    _sign_in(client, cast.mara.email, headers=german)
    assert '<html lang="de"' in client.get("/", headers=german).content.decode()


def test_wrong_ones_get_the_same_answer_whatever_is_wrong(cast, client):
    User.objects.filter(pk=cast.schmidt.pk).update(is_active=False)
    answers = {
        str(_sign_in(client, email, password).context["form"].errors)
        for email, password in [
            (cast.mara.email, "wrong"),
            ("nobody@nowhere.example", "wrong"),
            (cast.schmidt.email, PASSWORD),
        ]
    }
    assert len(answers) == 1
    assert "do not match" in answers.pop()


def test_the_form_keeps_the_e_mail_that_was_typed(cast, client):
    response = _sign_in(client, "mara@meyer.exmaple", "wrong")
    assert b'value="mara@meyer.exmaple"' in response.content


def test_too_many_attempts_are_refused_in_words_even_with_the_right_password(cast, client):
    for _attempt in range(PER_PERSON):
        _sign_in(client, cast.mara.email, "wrong")
    response = _sign_in(client, cast.mara.email)
    assert response.status_code == 200
    assert "Too many attempts. Wait 5 minutes" in str(response.context["form"].errors)


def test_who_tries_elsewhere_does_not_lock_the_resident_out(cast, client):
    for _attempt in range(PER_PERSON + 5):
        _sign_in(client, cast.mara.email, "wrong", REMOTE_ADDR="203.0.113.9")
    assert _sign_in(client, cast.mara.email).status_code == 302


def test_a_right_password_forgets_the_wrong_ones(cast, client):
    for _round in range(3):
        for _attempt in range(PER_PERSON - 1):
            _sign_in(client, cast.mara.email, "wrong")
        assert _sign_in(client, cast.mara.email).status_code == 302
        client.post("/sign-out")


def test_unknown_addresses_are_locked_like_known_ones(db, client):
    for _attempt in range(PER_PERSON):
        _sign_in(client, "nobody@nowhere.example", "wrong")
    response = _sign_in(client, "nobody@nowhere.example", "wrong")
    assert "Too many attempts" in str(response.context["form"].errors)


def test_a_proxy_of_our_own_tells_the_address_and_nobody_else_does(cast, client, settings):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    for attempt in range(PER_PERSON):
        # What the client itself claims stands before what our proxy adds.
        claimed = f"198.51.100.{attempt}, 203.0.113.9"
        _sign_in(client, cast.mara.email, "wrong", HTTP_X_FORWARDED_FOR=claimed)
    response = _sign_in(client, cast.mara.email, HTTP_X_FORWARDED_FOR="1.2.3.4, 203.0.113.9")
    assert response.status_code == 200


def test_signing_out_ends_the_session(cast, client):
    client.force_login(cast.mara)
    assert client.post("/sign-out").url == "/sign-in"
    assert client.get("/profile").status_code == 302


def test_asking_for_a_new_password_answers_the_same_for_every_address(cast, client):
    answers = [
        client.post("/password-reset", {"email": email}, follow=True)
        for email in (cast.mara.email, "nobody@nowhere.example")
    ]
    assert [answer.redirect_chain for answer in answers] == [[("/password-reset/sent", 302)]] * 2
    assert OutboxMessage.objects.count() == 2


def test_nobodys_mailbox_is_flooded(cast, client):
    most = MAIL.limits[0].most
    for attempt in range(most + 2):
        response = client.post(
            "/password-reset", {"email": cast.mara.email}, REMOTE_ADDR=f"203.0.113.{attempt}"
        )
    assert OutboxMessage.objects.count() == most
    assert "Too many attempts. Wait 60 minutes" in str(response.context["form"].errors)


def test_a_bad_address_is_an_error_and_stays_in_the_form(db, client):
    response = client.post("/password-reset", {"email": "mara@"})
    assert response.context["form"].errors["email"]
    assert b'value="mara@"' in response.content
    assert not OutboxMessage.objects.exists()


def test_a_user_changes_their_own_profile_and_the_language_follows(cast, client):
    client.force_login(cast.mara)
    response = client.post(
        "/profile", {"full_name": "Mara M. Meyer", "phone": "+49 241 1", "language": "de"}
    )
    assert response.url == "/profile"
    assert response.cookies[settings.LANGUAGE_COOKIE_NAME].value == "de"
    mara = User.objects.get(pk=cast.mara.pk)
    assert (mara.full_name, mara.phone, mara.language) == ("Mara M. Meyer", "+49 241 1", "de")


def test_a_user_does_not_raise_their_own_role_by_the_profile(cast, client):
    client.force_login(cast.mara)
    client.post("/profile", {"language": "en", "role": "account_admin", "is_staff": "on"})
    mara = User.objects.get(pk=cast.mara.pk)
    assert (mara.role, mara.is_staff) == ("resident", False)


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_page_of_the_way_in_opens_in_both_languages(db, client, language):
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    with translation.override(language):
        for path in (
            "/sign-in",
            "/password-reset",
            "/password-reset/sent",
            "/password-reset/complete",
        ):
            response = client.get(path)
            assert response.status_code == 200
            assert f'lang="{language}"' in response.content.decode()
