import threading
from datetime import timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail
from django.db import connection, transaction
from django.utils import translation

from accounts import mails, operations, outbox
from accounts.access import Role
from accounts.models import OutboxMessage, User
from accounts.tasks import send_due_mails


def _add(now, **payload) -> OutboxMessage:
    return outbox.add_message(kind="test", payload=payload, now=now)


def _sent(_message: OutboxMessage) -> str:
    return ""


def _fail(_message: OutboxMessage) -> str:
    raise SMTPServerDisconnected("the server hung up")


def test_a_due_message_is_sent_once(db, now):
    _add(now)
    assert outbox.send_due(kind="test", send=_sent, now=now) == 1
    assert outbox.send_due(kind="test", send=_sent, now=now + timedelta(days=1)) == 0
    message = OutboxMessage.objects.get()
    assert (message.sent_at, message.attempts) == (now, 1)


def test_a_message_of_another_kind_and_one_of_tomorrow_stay(db, now):
    outbox.add_message(kind="other", payload={}, now=now)
    outbox.add_message(kind="test", payload={}, now=now, due_at=now + timedelta(days=1))
    assert outbox.claim_due(kind="test", now=now) == []


def test_a_crash_between_claim_and_sending_loses_nothing(db, now):
    message = _add(now)
    assert outbox.claim_due(kind="test", now=now) == [message]
    # The worker is gone. Nobody else sends while it might still live …
    assert outbox.claim_due(kind="test", now=now + outbox.PATIENT.lease / 2) == []
    # … and when the lease is over, somebody does.
    later = now + outbox.PATIENT.lease
    assert outbox.send_due(kind="test", send=_sent, now=later) == 1
    assert OutboxMessage.objects.get().sent_at == later


def test_a_failure_is_tried_again_after_pauses_that_double(db, now):
    _add(now)
    at, pauses = now, []
    for _attempt in range(4):
        outbox.send_due(kind="test", send=_fail, now=at)
        message = OutboxMessage.objects.get()
        pauses.append((message.due_at - at).total_seconds() / 60)
        at = message.due_at
    assert pauses == [1, 2, 4, 8]
    assert message.last_error == "SMTPServerDisconnected: the server hung up"


def test_a_message_that_never_goes_is_given_up_and_says_why(db, now):
    _add(now)
    at = now
    for _attempt in range(outbox.PATIENT.most_attempts):
        assert outbox.send_due(kind="test", send=_fail, now=at) == 1
        at = OutboxMessage.objects.get().due_at
    message = OutboxMessage.objects.get()
    assert message.failed_at is not None
    assert message.sent_at is None
    assert outbox.send_due(kind="test", send=_sent, now=now + timedelta(days=9)) == 0


def test_one_failure_does_not_hold_up_its_neighbours(db, now):
    bad, good = _add(now, bad=True), _add(now)

    def send(message: OutboxMessage) -> str:
        return _fail(message) if message.payload else ""

    outbox.send_due(kind="test", send=send, now=now)
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.sent_at, good.sent_at) == (None, now)


def test_a_message_that_was_given_up_is_sent_when_somebody_says_so(db, now):
    message = _add(now)
    OutboxMessage.objects.update(failed_at=now, attempts=outbox.PATIENT.most_attempts)
    message.refresh_from_db()
    outbox.resend(message, now=now)
    assert outbox.send_due(kind="test", send=_sent, now=now) == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_claim_the_same_message(now):
    for _number in range(20):
        _add(now)
    claimed: list[list] = []

    def work():
        try:
            claimed.append([message.pk for message in outbox.claim_due(kind="test", now=now)])
        finally:
            connection.close()

    # One worker holds its claim open while the other looks.
    with transaction.atomic():
        mine = outbox.claim_due(kind="test", now=now, limit=5)
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert len(mine) == 5
    assert len(claimed[0]) == 15
    assert not {message.pk for message in mine} & set(claimed[0])


def test_the_message_is_gone_when_its_cause_is_rolled_back(cast, now):
    with transaction.atomic():
        operations.request_password_reset(email="mara@meyer.example", now=now)
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()


def test_a_letter_goes_to_the_user_in_their_language(cast, now, settings):
    settings.PUBLIC_URL = "https://energy.example"
    User.objects.filter(pk=cast.mara.pk).update(language="de")
    operations.request_password_reset(email="Mara@Meyer.example", now=now)
    with translation.override("en"):
        assert outbox.send_due(kind=mails.KIND, send=mails.send_letter, now=now) == 1
    (letter,) = mail.outbox
    assert letter.to == ["mara@meyer.example"]
    assert "https://energy.example/password-reset/" in letter.body
    assert "\n" not in letter.subject


def test_a_letter_to_nobody_ends_quietly_and_says_so(cast, now):
    operations.request_password_reset(email="nobody@nowhere.example", now=now)
    outbox.send_due(kind=mails.KIND, send=mails.send_letter, now=now)
    message = OutboxMessage.objects.get()
    assert mail.outbox == []
    assert message.sent_at == now
    assert "Nobody" in message.last_error


def test_the_row_holds_no_link_that_sets_a_password(cast, now):
    operations.request_password_reset(email="mara@meyer.example", now=now)
    outbox.send_due(kind=mails.KIND, send=mails.send_letter, now=now)
    (link,) = [line for line in mail.outbox[0].body.splitlines() if "/password-reset/" in line]
    token = link.rsplit("/", 1)[1]
    message = OutboxMessage.objects.get()
    assert token not in str(message.payload) + message.last_error


def test_an_invited_user_chooses_a_password_and_signs_in(cast, now, client):
    operations.invite_user(
        account=cast.north, email="new@north.example", role=Role.VIEWER, by=cast.admin, now=now
    )
    send_due_mails()
    (letter,) = mail.outbox
    (link,) = [line for line in letter.body.splitlines() if "/password-reset/" in line]
    path = "/" + link.split("/", 3)[3]
    page = client.get(path, follow=True)
    form_url = page.redirect_chain[-1][0]
    password = "four words of power"
    done = client.post(form_url, {"new_password1": password, "new_password2": password})
    assert done.url == "/password-reset/complete"
    assert client.login(username="new@north.example", password=password)
    # The link works once.
    client.logout()
    assert b"no longer works" in client.get(path, follow=True).content


def test_a_mail_is_hinted_at_only_when_its_cause_is_committed(
    cast, now, monkeypatch, django_capture_on_commit_callbacks
):
    hints = []
    monkeypatch.setattr(send_due_mails, "apply_async", lambda **options: hints.append(options))
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        operations.request_password_reset(email="mara@meyer.example", now=now)
        assert hints == []
    assert len(callbacks) == len(hints) == 1


def test_a_broker_that_is_away_does_not_undo_what_caused_the_mail(
    cast, now, monkeypatch, django_capture_on_commit_callbacks
):
    def away(**options):
        raise ConnectionError("no broker")

    monkeypatch.setattr(send_due_mails, "apply_async", away)
    with django_capture_on_commit_callbacks(execute=True):
        operations.request_password_reset(email="mara@meyer.example", now=now)
    assert OutboxMessage.objects.filter(sent_at=None).count() == 1
