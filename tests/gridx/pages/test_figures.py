"""From a figure to its slots, and from a slot to its readings: every step adds up."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse

from gridx import clock
from gridx.pages import dates
from inventory.kinds import ApplianceKind
from inventory.models import Appliance
from measurements.batches import Batch
from measurements.ingest import store_readings
from measurements.models import ApplianceSlot, DirtySlot, FinalSpan, SystemSlot
from measurements.resolutions import SLOT, SLOT_MS, to_ms
from measurements.slots import compute_until_clean
from tests.cast import Cast
from tests.household import measure
from tests.measurements.arrivals import store_one

DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 6, 13, 22, 0, tzinfo=UTC)  # the 14th of June in Berlin
NOON = MIDNIGHT + timedelta(hours=12)
# Slots of a day, by their numbers: an hour at noon, and all others.
NOON_HOUR = range(48, 52)
SILENT_AT_NOON = [number for number in range(96) if number not in NOON_HOUR]


@pytest.fixture
def measured(cast: Cast, at_noon: datetime) -> Cast:
    """Lindenweg 12 since the 14th of June, until now."""
    measure(cast, since=MIDNIGHT, until=at_noon, now=at_noon)
    return cast


@pytest.fixture
def mara(client: Client, cast: Cast) -> Client:
    client.force_login(cast.mara)
    return client


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def figure(client: Client, cast: Cast, name: str, asked: str = "date=2026-06-14") -> str:
    return page(client, reverse("figure", args=[cast.lindenweg.pk, name]) + f"?{asked}")


def readings(client: Client, cast: Cast, appliance: Appliance, start: datetime) -> str:
    return page(client, reverse("readings", args=[cast.lindenweg.pk, appliance.pk, start]))


def headline(html: str) -> int:
    return int(re.search(r'id="figure">.*?<data value="(-?\d+)">', html, re.DOTALL)[1])


def rows(html: str) -> list[int]:
    body = re.search(r"<tbody>.*?</tbody>", html, re.DOTALL)[0]
    return [int(value) for value in re.findall(r'<data value="(-?\d+)">', body)]


def summed(html: str) -> int:
    return int(re.search(r'id="summed" value="(-?\d+)"', html)[1])


def table(html: str, name: str, part: str = "tbody") -> dict[str, list[str]]:
    """By their headings, the other cells of a table's rows, in words."""
    body = re.search(rf'id="{name}">.*?<{part}>(.*?)</{part}>', html, re.DOTALL)[1]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        cells = re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL)
        heading, *rest = [re.sub(r"<.*?>", "", cell).strip() for cell in cells]
        found[heading.replace("\N{NO-BREAK SPACE}", " ")] = [
            cell.replace("\N{NO-BREAK SPACE}", " ") for cell in rest
        ]
    return found


def wh(cell: str) -> float:
    return float(cell.replace(",", "").replace("–", "0"))


def tell(appliance: Appliance, slots: Iterable[int], *, taken_wh=0.0, given_wh=0.0) -> None:
    """Store what an appliance took and gave in each of these slots of the 14th of June."""
    appliance.refresh_from_db()
    at_ms = [to_ms(MIDNIGHT) + number * SLOT_MS for number in slots]
    store_readings(
        batch=Batch.of(
            system_key=appliance.system.key,
            appliance_key=appliance.key,
            at_ms=at_ms,
            interval_s=900.0,
            import_energy_wh=taken_wh,
            export_energy_wh=given_wh,
        ),
        now=clock.now(),
        history=True,
    )


@pytest.mark.parametrize(
    ("name", "kwh"),
    [
        ("pv", 48),
        ("consumption", 12),
        ("household", 12),
        ("import", 0),
        ("export", 24),
        ("charge", 12),
        ("discharge", 0),
        ("ev", 0),
        ("pv_to_load", 12),
        ("pv_to_grid", 24),
        ("pv_to_battery", 12),
        ("grid_to_battery", 0),
    ],
)
def test_a_day_s_figure_is_the_sum_of_its_slots(mara: Client, measured: Cast, name, kwh):
    html = figure(mara, measured, name)
    assert headline(html) == summed(html) == sum(rows(html)) == kwh * 1_000_000
    assert len(rows(html)) == 96
    assert "add up" not in html
    assert "being computed" not in html


@pytest.mark.parametrize(("day", "slots"), [("2026-03-29", 92), ("2025-10-26", 100)])
def test_a_day_has_as_many_slots_as_its_clock_has_quarters(
    mara: Client, cast: Cast, at_noon: datetime, day: str, slots: int
):
    noon = datetime.fromisoformat(f"{day}T12:00:00+01:00")
    measure(cast, since=noon - 2 * DAY, until=noon + 2 * DAY, now=at_noon)
    html = figure(mara, cast, "pv", f"date={day}")
    assert len(rows(html)) == slots
    assert headline(html) == sum(rows(html)) == slots * 500_000


def test_a_balance_says_its_terms_and_leads_to_each_of_them(mara: Client, measured: Cast):
    html = figure(mara, measured, "consumption")
    assert (
        "Total consumption = Solar production + From the battery + From the grid "
        "\N{MINUS SIGN} Into the battery \N{MINUS SIGN} Into the grid \N{MINUS SIGN} Residual"
    ) in html
    for term in ("pv", "discharge", "import", "charge", "export"):
        address = reverse("figure", args=[measured.lindenweg.pk, term])
        assert f'href="{address}?date=2026-06-14"' in html
        slot = reverse("figure_slot", args=[measured.lindenweg.pk, term, NOON])
        assert f'href="{slot}"' in html


def test_columns_of_another_rule_s_terms_are_summed_where_it_holds(
    mara: Client, cast: Cast, at_noon: datetime
):
    tell(cast.grid_meter, SILENT_AT_NOON, taken_wh=1500.0)
    tell(cast.evcs, range(96), taken_wh=1000.0)
    compute_until_clean(now=at_noon)
    html = figure(mara, cast, "consumption")
    heads = re.findall(r'<th scope="col" class="number">(.*?)</th>', html)[2:]
    names = [re.sub(r"<.*?>", "", head).strip() for head in heads]
    cells = [line[3:] for line in table(html, "slots").values()]
    [(_total, _seen, _flags, *sums)] = table(html, "slots", "tfoot").values()
    assert [wh(one) for one in sums] == [
        sum(map(wh, column)) for column in zip(*cells, strict=True)
    ]
    feet = {name: wh(one) for name, one in zip(names, sums, strict=True) if wh(one)}
    assert feet == {"+ From the grid": 138_000, "+ Car charging": 4_000}
    assert headline(html) == summed(html) == 142_000_000


def test_what_is_measured_names_who_measured_it(mara: Client, measured: Cast):
    html = figure(mara, measured, "pv")
    assert "Measured by Roof." in html
    energy = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    assert f'href="{energy}?date=2026-06-14"' in html


def test_two_inverters_have_a_column_each(mara: Client, cast: Cast, at_noon: datetime):
    Appliance.objects.create(
        system=cast.lindenweg, local_id="barn", kind=ApplianceKind.PV_INVERTER, name="Barn"
    )
    powers = {"pv": -2000.0, "barn": -1000.0, "grid": -3000.0}
    measure(cast, since=MIDNIGHT, until=at_noon, now=at_noon, powers_w=powers)
    html = figure(mara, cast, "pv")
    assert "The sum of what was measured by Roof, Barn." in html
    assert headline(html) == sum(rows(html)) == 72_000_000
    assert html.count(">500.000</a>") == 96
    assert html.count(">250.000</a>") == 96


@pytest.mark.parametrize(
    ("slots", "removed_at", "half_seen"),
    [
        pytest.param(SILENT_AT_NOON, None, NOON_HOUR, id="silent for an hour"),
        pytest.param([-1], None, range(96), id="silent all day"),
        pytest.param(range(48, 96), None, (), id="first read at noon"),
        pytest.param(range(40), MIDNIGHT + timedelta(hours=10), (), id="removed at 10:00"),
    ],
)
def test_a_silent_inverter_is_missing_while_it_is_there(
    mara: Client, cast: Cast, at_noon: datetime, slots, removed_at, half_seen
):
    barn = Appliance.objects.create(
        system=cast.lindenweg, kind=ApplianceKind.PV_INVERTER, name="Barn", removed_at=removed_at
    )
    tell(cast.pv, range(96), given_wh=500.0)
    tell(barn, slots, given_wh=250.0)
    compute_until_clean(now=at_noon)
    html = figure(mara, cast, "pv")
    told = table(html, "slots")
    assert len(told) == 96
    assert [number for number, cells in enumerate(told.values()) if cells[1] == "50 %"] == [
        *half_seen
    ]
    assert {cells[1] for cells in told.values()} <= {"50 %", "100 %"}
    by_system = SystemSlot.objects.filter(
        system_key=cast.lindenweg.key, start__gte=MIDNIGHT
    ).order_by("start")
    expected = [f"{100 * slot.seen_s / slot.expected_s:.0f} %" for slot in by_system]
    assert [cells[1] for cells in told.values()] == expected
    for number in (0, 39, 40, 47, 48, 51, 52, 95):
        start = MIDNIGHT + number * SLOT
        of_slot = page(mara, reverse("figure_slot", args=[cast.lindenweg.pk, "pv", start]))
        is_there = not (removed_at and start >= removed_at) and number >= slots[0]
        shares = {one.split()[0]: cells[2] for one, cells in table(of_slot, "shares").items()}
        assert shares == {"Roof": "100 %"} | (
            {"Barn": "100 %" if number in slots else "0 %"} if is_there else {}
        )
        seen = "50 %" if number in half_seen else "100 %"
        assert f"<span>{seen} measured</span>" in of_slot.replace("\N{NO-BREAK SPACE}", " ")
        names = "Roof, Barn" if number in slots else "Roof"
        assert f"easured by {names}." in of_slot


def test_many_inverters_are_counted_and_each_slot_lists_them(
    mara: Client, cast: Cast, at_noon: datetime
):
    powers = {"grid": -13_000.0}
    for number in range(13):
        powers[f"row {number}"] = -1000.0
        Appliance.objects.create(
            system=cast.lindenweg,
            local_id=f"row {number}",
            kind=ApplianceKind.PV_INVERTER,
            name=f"Row {number}",
        )
    measure(cast, since=MIDNIGHT, until=MIDNIGHT + DAY, now=at_noon, powers_w=powers)
    html = figure(mara, cast, "pv")
    assert "The sum of what 13 appliances measured." in html
    assert headline(html) == sum(rows(html)) == 312_000_000
    slot = page(mara, reverse("figure_slot", args=[cast.lindenweg.pk, "pv", NOON]))
    assert all(f">Row {number}</a>" in slot for number in range(13))


@pytest.mark.parametrize(
    ("resolution", "rows_", "kwh", "finer"),
    [
        ("week", 2, 120, "date=2026-06-15"),
        ("month", 15, 72, "date=2026-06-15"),
        ("year", 6, 72, "resolution=month&amp;date=2026-06-01"),
    ],
)
def test_longer_figures_lead_to_their_days_and_months(
    mara: Client, measured: Cast, resolution, rows_, kwh, finer
):
    asked = f"resolution={resolution}&date=2026-06-15"
    html = figure(mara, measured, "pv", asked)
    expected = 24 if resolution == "week" else kwh
    assert headline(html) == summed(html) == sum(rows(html)) == expected * 1_000_000
    assert f"{reverse('figure', args=[measured.lindenweg.pk, 'pv'])}?{finer}" in html


def test_every_figure_of_home_leads_to_how_it_came_about(mara: Client, measured: Cast):
    html = page(mara, "/?date=2026-06-14")
    tiles = re.search(r'id="tiles".*?</section>', html, re.DOTALL)[0]
    foot = re.search(r"<tfoot>.*?</tfoot>", html, re.DOTALL)[0]
    for part, names in (
        (tiles, ["pv", "consumption", "import", "discharge"]),
        (foot, ["pv", "consumption", "charge", "export"]),
    ):
        for name in names:
            address, value = re.search(
                rf'<a href="([^"]*/figures/{name}\?[^"]*)"[^>]*><data value="(\d+)"', part
            ).groups()
            assert headline(page(mara, address.replace("&amp;", "&"))) == int(value)


def test_the_days_of_a_week_lead_to_theirs(mara: Client, measured: Cast):
    html = page(mara, "/?resolution=week&date=2026-06-14")
    address = reverse("figure", args=[measured.lindenweg.pk, "pv"])
    assert f'<a href="{address}?date=2026-06-14">48.00</a>' in html


def test_a_slot_leads_to_its_terms_and_to_who_measured(mara: Client, measured: Cast):
    address = reverse("figure_slot", args=[measured.lindenweg.pk, "consumption", NOON])
    html = page(mara, address)
    assert headline(html) == 125_000
    assert "12:00–12:15" in html
    for appliance in (measured.pv, measured.battery, measured.grid_meter, measured.evcs):
        one = reverse("readings", args=[measured.lindenweg.pk, appliance.pk, NOON])
        assert f'href="{one}"' in html


def test_a_slot_follows_from_the_readings_shown(mara: Client, measured: Cast):
    html = readings(mara, measured, measured.pv, NOON)
    assert (
        "Out: the counter went from 24,000.000\N{NO-BREAK SPACE}Wh to "
        "24,500.000\N{NO-BREAK SPACE}Wh, which is 500.000\N{NO-BREAK SPACE}Wh."
    ) in html
    stored = ApplianceSlot.objects.get(appliance_key=measured.pv.key, start=NOON)
    assert sum(rows(html.split('id="readings"')[1])) == stored.export_mwh == 500_000
    assert "imported" in html


def test_what_an_interval_adds_stands_where_it_ends(mara: Client, measured: Cast):
    start = NOON - 40 * DAY
    for minute, wh in ((0, 100.0), (10, 40.0)):
        at = start + timedelta(minutes=minute)
        store_one(measured.evcs, at, interval_s=300.0, import_energy_wh=wh)
    compute_until_clean(now=NOON)
    html = readings(mara, measured, measured.evcs, start)
    stored = ApplianceSlot.objects.get(appliance_key=measured.evcs.key, start=start)
    added = rows(html.split('id="readings"')[1])
    assert (added, sum(added)) == ([100_000, 40_000], stored.import_mwh)
    line = re.search(r'<th scope="row">12:05:00</th>.*?</tr>', html, re.DOTALL)[0]
    assert "100.000" in line
    assert "an interval ends" in line


def test_a_level_between_two_readings_says_which(mara: Client, measured: Cast):
    for seconds, wh in ((-90, 48_000.0), (810, 48_450.0), (1710, 48_900.0)):
        store_readings(
            batch=Batch.of(
                system_key=measured.lindenweg.key,
                appliance_key=measured.evcs.key,
                at_ms=[to_ms(NOON - 40 * DAY + timedelta(seconds=seconds))],
                imported_wh=[wh],
            ),
            now=NOON - 40 * DAY + timedelta(hours=1),
        )
    compute_until_clean(now=NOON)
    html = readings(mara, measured, measured.evcs, NOON - 40 * DAY)
    assert (
        "Its level at 12:00:00 lies on the line between 48,000.000\N{NO-BREAK SPACE}Wh at "
        "11:58:30 and 48,450.000\N{NO-BREAK SPACE}Wh at 12:13:30."
    ) in html
    assert sum(rows(html.split('id="readings"')[1])) == 450_000
    assert html.count('data-kind="beyond"') == 2
    assert "arrived late" in html


def test_an_instant_of_another_day_says_which(mara: Client, measured: Cast):
    start = datetime(2026, 5, 5, 22, 0, tzinfo=UTC)  # midnight in Berlin
    for hours, wh in ((-34, 100.0), (38, 700.0)):
        store_one(measured.evcs, start + timedelta(hours=hours), imported_wh=wh)
    compute_until_clean(now=NOON)
    html = readings(mara, measured, measured.evcs, start).replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "Its level at 00:00:00 lies on the line between 100.000 Wh at 4 May, 14:00:00 "
        "and 700.000 Wh at 7 May, 14:00:00."
    ) in html
    instants = re.findall(r'<th scope="row">(.*?)</th>', html)
    assert instants == ["4 May, 14:00:00", "00:00:00", "00:15:00", "7 May, 14:00:00", "Sum"]


def test_an_instant_of_another_year_says_that_too():
    at = datetime(2025, 12, 31, 12, 0, 0, 70_000, tzinfo=UTC)
    name = dates.instant_name(at, ZoneInfo("Europe/Berlin"), beside=NOON)
    assert name == "31 December 2025, 13:00:00.070"


def test_an_instant_of_the_hour_that_comes_twice_says_of_which(mara: Client, measured: Cast):
    start = datetime(2025, 10, 26, 0, 45, tzinfo=UTC)
    for minutes, wh in ((0.5, 100.0), (20, 700.0)):
        store_one(measured.evcs, start + timedelta(minutes=minutes), imported_wh=wh)
    compute_until_clean(now=NOON)
    html = readings(mara, measured, measured.evcs, start)
    instants = re.findall(r'<th scope="row">(.*?)</th>', html)
    assert instants == ["02:45:00 CEST", "02:45:30 CEST", "02:00:00 CET", "02:05:00 CET", "Sum"]


def test_a_late_change_is_told_with_by_how_much_and_why(
    mara: Client, measured: Cast, at_noon: datetime
):
    assert "What changed afterwards" not in figure(mara, measured, "pv")
    store_readings(
        batch=Batch.of(
            system_key=measured.lindenweg.key,
            appliance_key=measured.pv.key,
            at_ms=[to_ms(MIDNIGHT - timedelta(minutes=30))],
            exported_wh=[0.0],
            power_w=[-1000.0],
        ),
        now=at_noon,
    )
    compute_until_clean(now=at_noon)
    html = figure(mara, measured, "pv", "date=2026-06-13")
    assert "readings arrived late or were corrected" in html
    assert "Saturday, 13 June 2026: from – to " in html
    assert 'id="changes"' in figure(mara, measured, "pv", "resolution=month&date=2026-06-13")
    assert 'id="changes"' not in figure(mara, measured, "pv")


def test_what_was_not_computed_yet_is_said(mara: Client, measured: Cast, at_noon: datetime):
    store_readings(
        batch=Batch.of(
            system_key=measured.lindenweg.key,
            appliance_key=measured.pv.key,
            at_ms=[to_ms(NOON + timedelta(minutes=5))],
            exported_wh=[24_300.0],
        ),
        now=at_noon,
    )
    assert DirtySlot.objects.exists()
    html = readings(mara, measured, measured.pv, NOON)
    assert "the slot is being computed again" in html
    compute_until_clean(now=at_noon)
    assert "being computed again" not in readings(mara, measured, measured.pv, NOON)


def test_a_figure_that_does_not_follow_any_more_is_said(mara: Client, measured: Cast):
    SystemSlot.objects.filter(system_key=measured.lindenweg.key, start=NOON).update(pv_mwh=7)
    html = figure(mara, measured, "pv")
    assert "1 slot does not follow from what stands beside it" in html
    assert "do not add up to this figure" in html


def test_what_retention_dropped_is_final_and_said_at_every_step(mara: Client, measured: Cast):
    FinalSpan.objects.create(
        system_key=measured.lindenweg.key,
        appliance_key=measured.pv.key,
        from_at=MIDNIGHT,
        until_at=MIDNIGHT + DAY,
    )
    slot = reverse("figure_slot", args=[measured.lindenweg.pk, "pv", NOON])
    energy = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    for html in (
        figure(mara, measured, "pv"),
        page(mara, slot),
        page(mara, f"{energy}?date=2026-06-14"),
        readings(mara, measured, measured.pv, NOON),
    ):
        assert "no longer kept" in html
    assert "no longer kept" not in readings(mara, measured, measured.battery, NOON)


def test_an_appliance_tells_its_day(mara: Client, measured: Cast):
    address = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    html = page(mara, f"{address}?date=2026-06-14")
    assert "0 kWh in, 48.0 kWh out on this day." in html.replace("\N{NO-BREAK SPACE}", " ")
    foot = re.search(r"<tfoot>.*?</tfoot>", html, re.DOTALL)[0]
    assert re.findall(r'<data value="(\d*)">', foot) == ["0", "48000000"]
    assert reverse("readings", args=[measured.lindenweg.pk, measured.pv.pk, NOON]) in html
    assert f'href="{address}"' in page(mara, reverse("appliance", args=[measured.pv.pk]))


def test_slots_after_an_appliances_removal_are_shown_but_in_no_sum(mara: Client, measured: Cast):
    Appliance.objects.filter(pk=measured.pv.pk).update(removed_at=MIDNIGHT + DAY / 2)
    compute_until_clean(now=clock.now())
    address = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    html = page(mara, f"{address}?date=2026-06-14").replace("\N{NO-BREAK SPACE}", " ")
    assert "0 kWh in, 24.0 kWh out on this day." in html
    foot = re.search(r"<tfoot>.*?</tfoot>", html, re.DOTALL)[0]
    assert re.findall(r'<data value="(\d*)">', foot) == ["0", "24000000"]
    assert html.count("2.00 kW") == 96
    assert html.count("<td>removed") == 48
    assert headline(figure(mara, measured, "pv")) == 24_000_000


def test_the_mean_power_of_a_slot_is_what_its_energies_come_to(mara: Client, measured: Cast):
    # Powers that were read at single instants, beside a counter, come to something else.
    ApplianceSlot.objects.filter(appliance_key=measured.pv.key).update(mean_w=-4_100.0)
    address = reverse("appliance_energy", args=[measured.lindenweg.pk, measured.pv.pk])
    html = page(mara, f"{address}?date=2026-06-14").replace("\N{NO-BREAK SPACE}", " ")
    assert html.count("2.00 kW") == 96
    assert "4.10 kW" not in html


def test_history_stays_where_it_was_measured_and_names_nobody_elsewhere(
    mara: Client, measured: Cast
):
    Appliance.objects.filter(pk=measured.pv.pk).update(
        system=measured.hafenstrasse, gateway=None, name="Roof of Jo"
    )
    html = figure(mara, measured, "pv")
    assert headline(html) == 48_000_000
    assert "Roof of Jo" not in html
    assert "Measured by Solar inverter." in html
    html = readings(mara, measured, measured.pv, NOON)
    assert "500.000" in html
    assert "Roof of Jo" not in html


@pytest.mark.parametrize("person", ["schmidt", "south_admin"])
def test_another_one_s_figures_are_not_found(client: Client, measured: Cast, person: str):
    client.force_login(getattr(measured, person))
    for name, *arguments in (
        ("figure", "pv"),
        ("figure_slot", "pv", NOON),
        ("appliance_energy", measured.pv.pk),
        ("readings", measured.pv.pk, NOON),
    ):
        address = reverse(name, args=[measured.lindenweg.pk, *arguments])
        assert client.get(address).status_code == 404


@pytest.mark.parametrize(
    "rest",
    [
        "nonsense",
        *("pv/20260614T1007Z", "pv/20261314T1000Z", "pv/20990614T1000Z"),
        *("pv/00010101T0000Z", "pv/00010101T1200Z", "pv/99991231T2345Z"),  # the calendar's ends
    ],
)
def test_what_there_is_not_is_not_found(mara: Client, measured: Cast, rest: str):
    assert mara.get(f"/systems/{measured.lindenweg.pk}/figures/{rest}").status_code == 404


@pytest.mark.parametrize("start", ["00010101T0000Z", "99991231T2345Z"])
def test_nothing_was_read_at_the_calendar_s_ends(mara: Client, measured: Cast, start: str):
    address = reverse("readings", args=[measured.lindenweg.pk, measured.pv.pk, NOON])
    address = address.replace("20260614T1000Z", start)
    assert mara.get(address).status_code == 404


def test_a_slot_without_a_statement_says_so(mara: Client, measured: Cast):
    start = MIDNIGHT - DAY
    address = reverse("figure_slot", args=[measured.lindenweg.pk, "pv", start])
    assert "Nothing is known of this figure in this slot." in page(mara, address)
    assert "Nothing is known of this slot." in readings(mara, measured, measured.pv, start)
    assert "Nothing was measured." not in figure(mara, measured, "pv")


def test_a_day_costs_few_queries(mara: Client, measured: Cast, django_assert_max_num_queries):
    with django_assert_max_num_queries(14):
        figure(mara, measured, "import")
    with django_assert_max_num_queries(16):
        readings(mara, measured, measured.pv, NOON)
