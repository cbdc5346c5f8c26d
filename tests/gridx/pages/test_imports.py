"""From a file to readings by pages: who may, what is asked, what is refused, and what remains."""

import csv
import io
import re
from datetime import datetime

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.access import Role
from accounts.models import User
from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.imports.kept import layout_to_json
from measurements.imports.layouts import ColumnMapping, Layout, NewAppliance
from measurements.imports.operations import work_due
from measurements.imports.preview import ending_of
from measurements.models import Reading, RecordingImport
from tests.cast import Cast

LONG = "at,appliance,power_w\n2020-05-01T10:00:00Z,grid,-300\n2020-05-01T10:01:00Z,grid,=1\n"
WIDE = "no,when,in_kw,soc\n1,2020-05-01 10:00,1.5,0.5\n2,2020-05-01 10:15,2,0.6\n"
pytestmark = pytest.mark.usefixtures("uploads")
TIMES = {"time_zone": "Europe/Berlin", "interval_minutes": "", "label": "start"}


@pytest.fixture
def installer(client: Client, cast: Cast, at_noon: datetime) -> Client:
    client.force_login(cast.installer)
    return client


def address(cast: Cast, what: str = "import") -> str:
    return f"/systems/{cast.lindenweg.pk}/{what}"


def upload(client: Client, cast: Cast, content: str | bytes, name: str = "file.csv"):
    content = content.encode() if isinstance(content, str) else content
    return client.post(address(cast), {"file": SimpleUploadedFile(name, content)})


def brought(client: Client, cast: Cast, content: str) -> RecordingImport:
    answer = upload(client, cast, content)
    job = RecordingImport.objects.latest("created_at", "pk")
    assert (answer.status_code, answer.url) == (302, f"/imports/{job.pk}/mapping")
    return job


def text(response, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()
    return response.content.decode().replace("\N{NO-BREAK SPACE}", " ")


def said(place: int, **fields: object) -> dict[str, object]:
    """What is said of a column."""
    return {f"column-{place}-{name}": value for name, value in fields.items()}


def refusals(response) -> dict[str, list[str]]:
    """Of each field that is refused, why; of columns with the number of the column."""
    assert response.status_code == 422
    form = response.context["form"]
    found = dict(form.errors)
    for one in form.columns:
        found |= {f"{one.prefix}-{name}": list(errors) for name, errors in one.errors.items()}
    return {name: list(errors) for name, errors in found.items()}


# Who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "status"),
    [
        (Role.VIEWER, 403),
        (Role.RESIDENT, 403),
        (Role.FLEET_MANAGER, 403),
        (Role.INSTALLER, 200),
        (Role.ACCOUNT_ADMIN, 200),
        (Role.GRID_OPERATOR, 404),
        ("staff", 200),
    ],
)
def test_who_manages_the_inventory_imports_and_nobody_else_sees_the_way(
    client: Client, cast: Cast, role: str, status: int
):
    if role == "staff":
        client.force_login(cast.staff)
    else:
        client.force_login(
            User.objects.create(email="p@north.example", account=cast.north, role=role)
        )
    assert client.get(address(cast)).status_code == status
    assert client.get(address(cast, "imports")).status_code == status
    assert upload(client, cast, LONG).status_code == (302 if status == 200 else status)
    page = client.get(f"/systems/{cast.lindenweg.pk}/inventory")
    home = client.get(f"/systems/{cast.lindenweg.pk}")
    for found in (page, home):
        assert (address(cast) in found.content.decode()) == (status == 200)


# The file -----------------------------------------------------------------------------------------


def test_a_file_that_is_too_large_is_refused_in_words(installer, cast, settings):
    settings.MOST_UPLOADED_MB = 1
    html = text(upload(installer, cast, "a,b\n" + "1,2\n" * 300_000), 422)
    assert "The file has 2 MB; at most 1 MB can be uploaded." in html
    assert not RecordingImport.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("report.pdf", b"%PDF-1.7\n", "Choose a file that ends in .csv"),
        ("report.csv", b"%PDF-1.7\nx\n", "The first line has to name columns"),
        ("empty.csv", b"", "The file is empty."),
        ("bad.parquet", b"PAR1", "The file is no Parquet"),
    ],
)
def test_rubbish_is_refused_at_its_field(installer, cast, name, content, reason):
    answer = upload(installer, cast, content, name)
    assert reason in answer.context["form"].errors["file"][0]
    assert 'aria-invalid="true"' in text(answer, 422)
    assert not RecordingImport.objects.exists()


def test_no_file_at_all_is_refused(installer, cast):
    assert "Choose a file." in text(installer.post(address(cast)), 422)


# What its columns mean ----------------------------------------------------------------------------


def newcomers(client: Client, mapping: str) -> dict[str, str]:
    """What the form calls the kinds of those whom the system lacks, by their names."""
    form = client.get(mapping).context["form"]
    return {one.name: one.add_prefix("kind") for one in form.newcomers}


def test_whom_a_long_file_knows_by_their_id_need_not_be_made(installer, cast, at_noon):
    lines = [f"2020-05-01T10:00Z,Shed,{cast.pv.pk},-40\n", "2020-05-01T10:00Z,Barn,,50\n"]
    lines += [f"2020-05-01T10:0{minute}Z,Old,{cast.pool.pk},50\n" for minute in range(9)]
    job = brought(installer, cast, "at,appliance,appliance_id,power_w\n" + "".join(lines))
    mapping = f"/imports/{job.pk}/mapping"
    assert [*newcomers(installer, mapping)] == ["Barn"]
    barn = newcomers(installer, mapping)["Barn"]
    installer.post(mapping, TIMES | {"time_column": "at", barn: "meter", "skip_bad": "on"})
    work_due(now=at_noon)
    job.refresh_from_db()
    assert (job.report["created"], job.report["unknown"]) == (["Barn"], [])
    assert (job.report["stored"], job.report["bad"]) == (2, 9)
    assert cast.pv.key in Reading.objects.values_list("appliance_key", flat=True)


def test_appliances_that_a_long_file_names_and_the_system_lacks_can_be_made(
    installer, cast, at_noon
):
    lines = [f"2020-05-01T10:0{minute}:00Z,grid,-300\n" for minute in range(9)]
    lines = ["2020-05-01T10:09:00Z,Shed,40\n", *lines, "2020-05-01T10:09:00Z,Barn,50\n"]
    job = brought(installer, cast, "at,appliance,power_w\n" + "".join(lines))
    mapping = f"/imports/{job.pk}/mapping"
    assert [*newcomers(installer, mapping)] == ["Shed"]
    shed = newcomers(installer, mapping)["Shed"]
    asked = TIMES | {"time_column": "at"}
    assert "nonsense is not one of" in text(
        installer.post(mapping, asked | {shed: "nonsense"}), 422
    )
    installer.post(mapping, asked | {shed: "meter"})
    work_due(now=at_noon)
    # Whom only later lines name is asked for once they were read.
    assert [*newcomers(installer, mapping)] == ["Barn", "Shed"]
    assert '<option value="meter" selected>' in text(installer.get(mapping))
    installer.post(
        mapping, asked | {shed: "meter", newcomers(installer, mapping)["Barn"]: "heater"}
    )
    work_due(now=at_noon)
    job.refresh_from_db()
    assert (job.state, job.report["created"]) == ("done", ["Barn", "Shed"])
    made = cast.lindenweg.appliances.filter(name__in=("Barn", "Shed")).order_by("name")
    assert [*made.values_list("kind", flat=True)] == ["heater", "meter"]


def test_a_long_file_asks_for_nothing_but_its_times(installer, cast, at_noon):
    job = brought(installer, cast, LONG.replace("=1", "5"))
    html = text(installer.get(f"/imports/{job.pk}/mapping"))
    assert "Nothing has to be said" in html
    assert "<td>2020-05-01T10:00:00Z</td>" in html
    assert '<option value="at" selected>' in html
    answer = installer.post(f"/imports/{job.pk}/mapping", {**TIMES, "time_column": "at"})
    assert answer.url == f"/imports/{job.pk}"
    assert "Waits for its turn" in text(installer.get(answer.url))
    work_due(now=at_noon)
    html = text(installer.get(answer.url))
    assert "Done" in html
    assert "every 1s" not in html
    assert Reading.objects.count() == 2


def test_any_file_that_can_be_chosen_is_read_and_columns_of_one_name_are_told(installer, cast):
    html = text(installer.get(address(cast)))
    accepted = re.search(r'accept="([^"]+)"', html)[1].split(",")
    assert [ending_of(f"file{ending}") for ending in accepted] == accepted
    job = brought(installer, cast, "when,p,p,q\n2020-05-01T10:00Z,1,2,3\n")
    html = text(installer.get(f"/imports/{job.pk}/mapping"))
    assert "Several columns have the same name and cannot be told apart: p." in html


def test_the_columns_of_a_wide_file_are_said_one_by_one(installer, cast, at_noon):
    job = brought(installer, cast, WIDE)
    where = f"/imports/{job.pk}/mapping"
    html = text(installer.get(where))
    assert '<option value="when" selected>' in html
    assert "1.5 · 2" in html
    assert f'<option value="{cast.battery.pk}">Battery</option>' in html
    answer = installer.post(
        where,
        {
            **TIMES,
            "time_column": "when",
            "interval_minutes": "15",
            "label": "end",
            "skip_bad": "on",
            **said(2, appliance="new", new_name="Barn", new_kind="meter", quantity="imported_w"),
            **said(2, scale="1000"),
            **said(3, appliance=cast.battery.pk, quantity="soc"),
        },
    )
    assert answer.status_code == 302, refusals(answer)
    work_due(now=at_noon)
    job.refresh_from_db()
    assert (job.state, job.report["created"], job.skip_bad) == ("done", ["Barn"], True)
    assert job.layout["mappings"] == [
        vars(ColumnMapping("in_kw", "Barn", "imported_w", 1000.0)),
        vars(ColumnMapping("soc", str(cast.battery.pk), "soc")),
    ]
    first = Reading.objects.order_by("at").filter(import_energy_wh__isnull=False).first()
    assert (first.at.isoformat(), first.import_energy_wh) == ("2020-05-01T07:45:00+00:00", 375.0)


@pytest.mark.parametrize(
    ("fields", "where", "reason"),
    [
        ({}, "__all__", "Say of at least one column what it is."),
        ({"time_zone": "Mars"}, "time_zone", "no IANA time zone|is not an IANA time zone"),
        ({"time_column": "no"}, "time_column", "“1” is no ISO 8601 instant"),
        ({"time_column": "gone"}, "time_column", "gone is not one of the available choices"),
        (said(2, appliance="{battery}"), "column-2-quantity", "Say what it is."),
        (
            said(2, appliance="{battery}", quantity="power_w", scale="0"),
            "column-2-scale",
            "Not 0.",
        ),
        (
            said(2, appliance="{battery}", quantity="power_w", scale="many"),
            "column-2-scale",
            "Enter a number.",
        ),
        (said(2, appliance="new", quantity="power_w"), "column-2-new_name", "what it is called"),
        (
            said(2, appliance="new", quantity="power_w", new_name="Barn"),
            "column-2-new_kind",
            "Say what it is.",
        ),
        (
            said(2, appliance="new", quantity="power_w", new_name="grid", new_kind="meter"),
            "column-2-new_name",
            "There is one of this name",
        ),
        (
            said(2, appliance="new", quantity="power_w", new_name="A", new_kind="meter")
            | said(3, appliance="new", quantity="soc", new_name="A", new_kind="battery"),
            "column-3-new_kind",
            "something else",
        ),
        (
            said(2, appliance="{battery}", quantity="imported_w"),
            "column-2-quantity",
            "say how long it is",
        ),
        (
            said(2, appliance="{battery}", quantity="imported_w")
            | said(3, appliance="{battery}", quantity="power_w")
            | {"interval_minutes": "7"},
            "column-3-quantity",
            "say the same",
        ),
        *(
            ({"interval_minutes": text}, "interval_minutes", "A whole number of minutes, from 1")
            for text in ("0", "61", "-15", "7.5", "long")
        ),
        (said(2, appliance="{other_meter}", quantity="power_w"), "column-2-appliance", "valid"),
    ],
)
def test_what_does_not_fit_is_told_where_it_is_said(installer, cast, fields, where, reason):
    job = brought(installer, cast, WIDE)
    ids = {"battery": cast.battery.pk, "other_meter": cast.other_meter.pk}
    given = {
        name: value.format(**ids) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    found = refusals(
        installer.post(f"/imports/{job.pk}/mapping", {**TIMES, "time_column": "when", **given})
    )
    assert any(part in found[where][0] for part in reason.split("|")), found
    job.refresh_from_db()
    assert job.state == "chosen"


def test_a_removed_appliance_can_be_chosen_for_what_it_read(installer, cast, at_noon):
    Appliance.objects.filter(pk=cast.battery.pk).update(removed_at=at_noon)
    job = brought(installer, cast, WIDE)
    where = f"/imports/{job.pk}/mapping"
    option = f'<option value="{cast.battery.pk}">Battery (removed)</option>'
    assert option in text(installer.get(where))
    given = {**TIMES, "time_column": "when"}
    given |= said(3, appliance=cast.battery.pk, quantity="soc")
    assert installer.post(where, given).status_code == 302
    work_due(now=at_noon)
    assert {*Reading.objects.values_list("appliance_key", flat=True)} == {cast.battery.key}


def test_a_file_may_begin_in_the_hour_that_comes_twice_where_bad_lines_are_left_out(
    installer, cast, at_noon
):
    lines = [f"2020-10-25 02:{minute:02},1\n" for minute in range(50, 60)]
    job = brought(installer, cast, "".join(["when,p\n", *lines, "2020-10-25 03:00,2\n"]))
    where = f"/imports/{job.pk}/mapping"
    given = {**TIMES, "time_column": "when"}
    given |= said(1, appliance=cast.battery.pk, quantity="power_w")
    assert "happens twice" in refusals(installer.post(where, given))["time_column"][0]
    assert installer.post(where, given | {"skip_bad": "on"}).status_code == 302
    work_due(now=at_noon)
    assert [*Reading.objects.values_list("power_w", flat=True)] == [2.0]
    nothing = brought(installer, cast, "when,p\nsoon,1\n")
    answer = installer.post(f"/imports/{nothing.pk}/mapping", given | {"skip_bad": "on"})
    assert "“soon” is no ISO 8601 instant" in refusals(answer)["time_column"][0]


# What became of it --------------------------------------------------------------------------------


def test_bad_lines_are_listed_and_the_same_file_can_be_tried_again(installer, cast, at_noon):
    job = brought(installer, cast, LONG)
    where, times = f"/imports/{job.pk}/mapping", {**TIMES, "time_column": "at"}
    installer.post(where, times)
    work_due(now=at_noon)
    html = text(installer.get(f"/imports/{job.pk}"))
    assert "Nothing was stored" in html
    assert "One line is bad, so nothing was stored." in html
    assert "power_w: “=1” is not a number" in html
    assert where in html
    answer = installer.get(f"/imports/{job.pk}/refused.csv")
    lines = list(csv.reader(io.StringIO(answer.getvalue().decode())))
    assert lines == [["line", "reason"], ["3", "power_w: “=1” is not a number"]]
    assert "One line is bad" in text(installer.get(where))
    installer.post(where, {**times, "skip_bad": "on"})
    work_due(now=at_noon)
    html = text(installer.get(f"/imports/{job.pk}"))
    assert "Done, without the bad lines" in html
    assert installer.get(where).url == f"/imports/{job.pk}"
    listed = text(installer.get(address(cast, "imports")))
    assert "file.csv" in listed
    assert f'href="/imports/{job.pk}"' in listed


def test_what_was_said_before_is_there_again(installer, cast):
    job = brought(installer, cast, WIDE)
    layout = Layout(
        mappings=(ColumnMapping("in_kw", "Barn", "power_w", 1000.0),),
        time_column="when",
        create=(NewAppliance("Barn", ApplianceKind.METER),),
    )
    RecordingImport.objects.filter(pk=job.pk).update(layout=layout_to_json(layout))
    html = text(installer.get(f"/imports/{job.pk}/mapping"))
    assert '<option value="new" selected>' in html
    assert 'value="Barn"' in html
    assert '<option value="power_w" selected>' in html
    assert 'value="1000.0"' in html


def test_it_is_cancelled_by_a_click(installer, cast, at_noon):
    job = brought(installer, cast, LONG)
    installer.post(f"/imports/{job.pk}/mapping", {**TIMES, "time_column": "at"})
    assert f'action="/imports/{job.pk}/cancel"' in text(installer.get(f"/imports/{job.pk}"))
    answer = installer.post(f"/imports/{job.pk}/cancel")
    assert "Nothing of this file was stored." in text(installer.get(answer.url))
    work_due(now=at_noon)
    assert not Reading.objects.exists()
    answer = installer.post(f"/imports/{job.pk}/cancel", follow=True)
    assert "It was over already." in text(answer)


def test_a_file_that_is_gone_is_chosen_again(installer, cast):
    job = brought(installer, cast, LONG)
    storages["recordings"].delete(job.stored_as)
    answer = installer.get(f"/imports/{job.pk}/mapping", follow=True)
    assert answer.redirect_chain[-1][0] == address(cast)
    assert "choose it again" in text(answer)
