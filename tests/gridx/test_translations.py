"""German: complete, current, and what a German reader gets."""

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.formats import date_format

from accounts.audit import Verb, record_change
from accounts.queries import audit_line
from gridx.management.commands.check_translations import (
    collect_texts,
    problems_of,
    renew_catalogue,
)
from gridx.pages import dates
from measurements.formats import age, energy, number, power
from tests.cast import Cast

GERMAN = Path(settings.LOCALE_PATHS[0]) / "de" / "LC_MESSAGES"

needs_gettext = pytest.mark.skipif(
    shutil.which("xgettext") is None, reason="GNU gettext is not installed: apt-get install gettext"
)


@pytest.fixture(autouse=True)
def _own_language():
    """A request leaves its language behind, for whatever is tested next."""
    with translation.override("en"):
        yield


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A copy of the German catalogue, to spoil."""
    for name in ("django.po", "django.mo"):
        shutil.copy(GERMAN / name, tmp_path)
    return tmp_path


@pytest.fixture
def texts(catalogue: Path) -> polib.POFile:
    """The texts that the catalogue has."""
    return polib.pofile(str(catalogue / "django.po"))


def spoil(catalogue: Path, msgid: str, msgstr: str, *, compiled: bool = True) -> None:
    found = polib.pofile(str(catalogue / "django.po"))
    found.find(msgid).msgstr = msgstr
    found.save()
    if compiled:
        found.save_as_mofile(str(catalogue / "django.mo"))


@needs_gettext
def test_every_text_is_translated_and_checking_changes_nothing():
    before = [(GERMAN / name).read_bytes() for name in ("django.po", "django.mo")]
    call_command("check_translations")
    assert [(GERMAN / name).read_bytes() for name in ("django.po", "django.mo")] == before


@needs_gettext
def test_only_texts_of_the_project_are_collected():
    places = {path for text in collect_texts() for path, _line in text.occurrences}
    assert "templates/pages/_flow.html" in places
    assert "measurements/words.py" in places
    top = {path.split("/")[0] for path in places}
    assert top <= {"accounts", "flexibility", "gridx", "inventory", "measurements", "templates"}


@needs_gettext
def test_a_missing_translation_is_reported(catalogue: Path, texts: polib.POFile):
    assert problems_of(catalogue, texts) == []
    spoil(catalogue, "Self-sufficient", "")
    assert problems_of(catalogue, texts) == [
        "not translated: 'Self-sufficient' (gridx/pages/history.py)"
    ]


@needs_gettext
def test_a_text_that_the_catalogue_does_not_know_is_reported(catalogue: Path, texts: polib.POFile):
    texts.append(polib.POEntry(msgid="Brand new", occurrences=[("gridx/new.py", "")]))
    assert problems_of(catalogue, texts) == ["not translated: 'Brand new' (gridx/new.py)"]


@needs_gettext
def test_a_guessed_translation_counts_as_missing(catalogue: Path, texts: polib.POFile):
    found = polib.pofile(str(catalogue / "django.po"))
    found.find("Self-sufficient").flags.append("fuzzy")
    found.save()
    assert "not translated: 'Self-sufficient'" in problems_of(catalogue, texts)[0]


@needs_gettext
def test_a_compiled_catalogue_that_lags_behind_is_reported(catalogue: Path, texts: polib.POFile):
    spoil(catalogue, "Self-sufficient", "Unabhängigkeit", compiled=False)
    assert problems_of(catalogue, texts) == [
        "django.mo is not current; run check_translations --write"
    ]
    (catalogue / "django.mo").unlink()
    assert "django.mo is not current" in problems_of(catalogue, texts)[0]


@needs_gettext
def test_a_placeholder_that_a_translation_lost_is_reported(catalogue: Path, texts: polib.POFile):
    spoil(catalogue, "%(share)s measured", "gemessen %(anteil)s")
    assert "anteil" in problems_of(catalogue, texts)[0]


def test_renewing_keeps_translations_and_drops_texts_that_are_gone(
    catalogue: Path, texts: polib.POFile
):
    texts.remove(texts.find("Self-sufficient"))
    texts.find("Produced").msgstr = ""
    texts.append(polib.POEntry(msgid="Brand new"))
    renew_catalogue(catalogue, texts)
    renewed = polib.pofile(str(catalogue / "django.po"))
    assert renewed.find("Self-sufficient") is None
    assert renewed.find("Produced").msgstr == "Erzeugt"
    assert renewed.find("Brand new").msgstr == ""
    assert renewed.metadata == polib.pofile(str(GERMAN / "django.po")).metadata


def test_renewing_a_current_catalogue_changes_nothing(catalogue: Path, texts: polib.POFile):
    renew_catalogue(catalogue, texts)
    for name in ("django.po", "django.mo"):
        assert (catalogue / name).read_bytes() == (GERMAN / name).read_bytes()


def test_checking_fails_without_gettext(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CommandError, match="gettext"):
        call_command("check_translations")


# German ----------------------------------------------------------------------------------------


def test_german_numbers_have_commas_and_points():
    with translation.override("de"):
        assert str(power(1260)) == "1,26\N{NO-BREAK SPACE}kW"
        assert str(energy(1_234_500_000)) == "1.234\N{NO-BREAK SPACE}kWh"
        assert number(-0.5, 1) == "\N{MINUS SIGN}0,5"


def test_german_dates_have_their_points():
    with translation.override("de"):
        assert dates.day_name(date(2026, 11, 23)) == "Montag, 23. November 2026"


@pytest.mark.parametrize(
    ("language", "long", "short"),
    [
        ("en", "26 November 2026", "26 Nov 2026"),
        ("de", "26. November 2026", "26. Nov. 2026"),
    ],
)
def test_dates_are_written_one_way_per_language(language: str, long: str, short: str):
    with translation.override(language):
        assert date_format(date(2026, 11, 26), "DATE_FORMAT") == long
        assert date_format(date(2026, 11, 26), "SHORT_DATE_FORMAT") == short
        assert (
            date_format(datetime(2026, 11, 26, 9, 5, tzinfo=UTC), "DATETIME_FORMAT")
            == f"{long}, 09:05"
        )
        assert dates.day_name(date(2026, 11, 26)).endswith(f" {long}")


def test_own_words_leave_djangos_names_of_days_and_months_alone():
    with translation.override("de"):
        week = [date_format(date(2026, 11, 23) + timedelta(days=day), "D") for day in range(7)]
        months = [date_format(date(2026, month, 1), "F") for month in (1, 3, 5, 12)]
    assert week == ["Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"]
    assert months == ["Januar", "März", "Mai", "Dezember"]


def test_german_ages_begin_with_the_preposition():
    now = datetime(2026, 6, 14, 12, 0, tzinfo=UTC)
    with translation.override("de"):
        assert age(now.replace(hour=9), now) == "vor 3\N{NO-BREAK SPACE}h"


def test_the_sign_in_speaks_the_browsers_language(client: Client, db):
    html = client.get(reverse("sign_in"), headers={"accept-language": "de-AT,de;q=0.9"})
    assert html.headers["Content-Language"] == "de"
    assert "Passwort vergessen?" in html.content.decode()


def test_a_page_in_german_has_german_words(client: Client, cast: Cast):
    client.force_login(cast.mara)
    html = client.get("/", headers={"accept-language": "de"}).content.decode()
    words = re.sub(r"<[^>]*>", " ", html)
    assert '<html lang="de"' in html
    for word in ("Übersicht", "Verlauf", "Geräte", "Abmelden"):
        assert word in words
    for word in ("Sign out", "Appliances", "History"):
        assert word not in words


def test_the_audit_log_names_roles_in_german(cast: Cast, now: datetime):
    entry = record_change(
        verb=Verb.ROLE_CHANGED,
        target=cast.mara,
        account=cast.meyers,
        by=None,
        now=now,
        changes={"role": ["viewer", "resident"]},
    )
    with translation.override("de"):
        line = audit_line(entry)
    assert line.verb == "Rolle geändert"
    assert line.changes == [("Rolle", "Lesezugriff", "Bewohner")]


def test_the_audit_log_names_members_in_german(cast: Cast, now: datetime):
    entry = record_change(
        verb=Verb.MEMBERS_CHANGED,
        target=cast.pool,
        account=cast.north,
        by=None,
        now=now,
        changes={"added": ["Lindenweg 12", "Hafenstraße 3"], "grid_operator": [None, "a@b.c"]},
    )
    with translation.override("de"):
        assert audit_line(entry).changes == [
            ("hinzugefügt", None, "Lindenweg 12, Hafenstraße 3"),
            ("Netzbetreiber", None, "a@b.c"),
        ]


def test_the_admin_names_what_was_done_to_what_in_german(client: Client, cast: Cast, now: datetime):
    entry = record_change(
        verb=Verb.ROLE_CHANGED,
        target=cast.mara,
        account=cast.meyers,
        by=None,
        now=now,
        changes={"role": ["viewer", "resident"]},
    )
    client.force_login(cast.staff)
    german = {"accept-language": "de"}
    found = client.get("/admin/accounts/auditentry/", headers=german).content.decode()
    words = re.sub(r"<[^>]*>", " ", found)
    assert words.count("Rolle geändert") == 2  # the row and the filter
    for code in ("role_changed", "accounts.user"):
        assert code not in words
    url = f"/admin/accounts/auditentry/{entry.pk}/change/"
    assert "Rolle: Lesezugriff → Bewohner" in client.get(url, headers=german).content.decode()


def test_the_admin_names_a_gateways_state_in_german(client: Client, cast: Cast):
    client.force_login(cast.staff)
    found = client.get("/admin/inventory/gateway/", headers={"accept-language": "de"})
    assert re.search(r'class="field-state">nie gesehen<', found.content.decode())
