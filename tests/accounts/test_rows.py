from datetime import timedelta

from accounts import outbox
from accounts.models import OutboxMessage
from accounts.rows import update_rows


def test_each_row_gets_its_own_values_and_others_keep_theirs(db, now, django_assert_num_queries):
    first, second, other = [
        outbox.add_message(kind="test", payload={"n": n}, now=now) for n in range(3)
    ]
    first.payload, first.sent_at, first.attempts = {"text": "“é”", "none": None}, now, 2
    second.payload, second.sent_at, second.attempts = [1.5, {}], None, 7
    first.kind = "not named"
    with django_assert_num_queries(1):
        update_rows([first, second], ["payload", "sent_at", "attempts"])
    kept = OutboxMessage.objects.in_bulk()
    assert [
        (kept[one.pk].kind, kept[one.pk].payload, kept[one.pk].sent_at, kept[one.pk].attempts)
        for one in (first, second, other)
    ] == [
        ("test", {"text": "“é”", "none": None}, now, 2),
        ("test", [1.5, {}], None, 7),
        ("test", {"n": 2}, None, 0),
    ]


def test_a_row_that_is_gone_is_not_made_again(db, now):
    message = outbox.add_message(kind="test", payload={}, now=now)
    OutboxMessage.objects.all().delete()
    message.sent_at = now + timedelta(days=1)
    update_rows([message], ["sent_at"])
    assert not OutboxMessage.objects.exists()


def test_nothing_to_write_asks_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        update_rows([], ["sent_at"])
