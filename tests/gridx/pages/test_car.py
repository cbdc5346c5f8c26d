"""My car: whether it charges, how fast and why, and how it is to charge."""

import re
from datetime import datetime, timedelta
from html import unescape

import pytest
from django.test import Client

from flexibility.emitters import Emitter, emitter_of
from flexibility.limits.operations import LimitDraft, set_limit
from flexibility.local import DriverLimits, set_driver_limits
from flexibility.models import ChargingPolicy, Constraint
from flexibility.operations import Draft, set_constraints
from flexibility.policies.asking import apply_policies
from flexibility.policies.operations import PolicyDraft, set_policy
from flexibility.policies.terms import Mode
from flexibility.resolver import EmitterKind
from gridx import clock
from gridx.pages.car import render_live
from inventory.kinds import Plug
from inventory.models import Appliance, Cluster
from measurements.models import LatestReading
from tests.cast import Cast
from tests.flexibility.policies.test_shared_limits import CarPark

HOUR = timedelta(hours=1)
NBSP = "\N{NO-BREAK SPACE}"


class Home:
    """Lindenweg 12 with its car, as somebody sees it."""

    def __init__(self, cast: Cast, now: datetime) -> None:
        self.cast, self.now = cast, now
        self.url = f"/cars/{cast.evcs.pk}"

    def read(self, *, grid_w: float, car_w: float = 0, plug: Plug = Plug.CHARGING) -> None:
        for appliance, power_w in ((self.cast.grid_meter, grid_w), (self.cast.evcs, car_w)):
            LatestReading.objects.update_or_create(
                system_key=self.cast.lindenweg.key,
                appliance_key=appliance.key,
                defaults={"at": self.now, "power_at": self.now, "power_w": power_w},
            )
        LatestReading.objects.filter(appliance_key=self.cast.evcs.key).update(plug_state=plug)
        LatestReading.objects.update_or_create(
            system_key=self.cast.lindenweg.key,
            appliance_key=self.cast.battery.key,
            defaults={"at": self.now, "power_at": self.now, "power_w": 0},
        )
        apply_policies(system=self.cast.lindenweg.pk, now=self.now)

    def set(self, mode: Mode, *, by=None, target=None, **fields) -> ChargingPolicy:
        return set_policy(
            target=target or self.cast.evcs,
            draft=PolicyDraft(mode=mode, **fields),
            emitter=emitter_of(by or self.cast.mara),
            now=self.now,
        )

    def limit(self, max_w: float, emitter: Emitter) -> None:
        draft = Draft(max_w=max_w, invalid_at=self.now + HOUR)
        set_constraints(target=self.cast.evcs, drafts=[draft], emitter=emitter, now=self.now)

    def shown(self, user=None, path: str = "") -> str:
        return words(self.client(user).get(self.url + path))

    def client(self, user=None) -> Client:
        client = Client()
        client.force_login(user or self.cast.mara)
        return client

    def post(self, path: str, user=None, **data):
        return self.client(user).post(f"{self.url}/{path}", data)


def words(response, status: int = 200) -> str:
    """What the page says, without its tags."""
    assert response.status_code == status
    text = unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
    return re.sub(r"[ \n]+", " ", text.replace(NBSP, " "))


@pytest.fixture
def home(cast: Cast, at_noon: datetime) -> Home:
    limits = DriverLimits(min_w=4_140, max_w=11_000, pausable=True)
    set_driver_limits(limits={cast.evcs.pk: limits}, now=at_noon)
    cast.gateway.contacted_at = at_noon
    cast.gateway.save()
    found = Home(cast, at_noon)
    found.read(grid_w=500, plug=Plug.PLUGGED)
    return found


def test_it_says_whether_a_car_is_plugged_in_and_how_fast_it_charges(home: Home):
    assert "car plugged in" in home.shown()
    home.read(grid_w=11_000, car_w=10_900)
    assert "10.9 kW charging" in home.shown()
    home.read(grid_w=500, plug=Plug.UNPLUGGED)
    assert "no car plugged in" in home.shown()
    home.set(Mode.SURPLUS)
    assert "As soon as a car is plugged in Charges only with sun" in home.shown()


def test_nobody_limits_it(home: Home):
    said = home.shown()
    assert "Nobody limits it: it takes what the car asks for, up to 11 kW." in said
    assert "The car itself takes nothing: it may be full, or wait by a timer." in said


def test_sun_only_says_what_the_sun_gives_and_what_the_car_needs(home: Home):
    home.read(grid_w=-2_100)
    response = home.post("policy", mode="surplus")
    assert response.status_code == 302
    assert response.url == home.url
    said = home.shown()
    assert "Pauses: the sun gives 2.10 kW, the car needs 4.14 kW." in said
    assert "sun only set by you" in said


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("surplus", "Charges only with sun that the house leaves. Below 4.14 kW it pauses."),
        ("minimum_and_surplus", "Never less than 4.14 kW"),
        ("forced", "As fast as it may, up to 11 kW, wherever the power comes from."),
        ("off", "Does not charge until somebody chooses otherwise."),
    ],
)
def test_a_mode_says_what_it_does_before_one_says_yes(home: Home, mode: str, says: str):
    said = words(home.post("policy", mode=mode, preview="1"))
    assert says in said
    assert "As things are now:" in said
    assert not ChargingPolicy.objects.exists()


def test_ready_by_says_when_it_starts_and_what_it_needs(home: Home):
    asked = {"mode": "departure", "energy": "10", "ready_at": "2026-06-15T23:05"}
    said = words(home.post("policy", **asked, preview="1"))
    left_h = (datetime(2026, 6, 15, 21, tzinfo=home.now.tzinfo) - home.now) / HOUR
    assert (
        f"It can: {10 / left_h:.2f} kW on average would do. At first with sun alone, from " in said
    )
    assert home.post("policy", **asked).status_code == 302
    policy = ChargingPolicy.objects.get()
    assert (policy.mode, policy.energy_wh) == ("departure", 10_000)
    assert "10 kWh by 23:05" in home.shown()


def test_ready_by_is_honest_where_it_cannot(home: Home):
    soon = (home.now + HOUR).astimezone(home.cast.lindenweg.zone)
    said = words(
        home.post(
            "policy", mode="departure", energy="15.2", ready_at=f"{soon:%Y-%m-%dT%H:%M}", preview=1
        )
    )
    by = home.now + HOUR * 15.2 / 11
    at = f"{by.astimezone(home.cast.lindenweg.zone):%H:%M}"
    assert f"It cannot: 4.2 kWh would be missing. It could by {at}." in said


def test_what_is_left_by_others_counts_for_the_plan(home: Home):
    home.limit(5_000, emitter_of(home.cast.fleet))
    soon = (home.now + HOUR).astimezone(home.cast.lindenweg.zone)
    said = words(
        home.post(
            "policy", mode="departure", energy="8", ready_at=f"{soon:%Y-%m-%dT%H:%M}", preview=1
        )
    )
    assert "It cannot: 3 kWh would be missing." in said


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "Choose how it charges."),
        ({"mode": "departure", "energy": "", "ready_at": "2026-06-16T07:00"}, "Say how much."),
        ({"mode": "departure", "energy": "much", "ready_at": "2026-06-16T07:00"}, "such as 2.5"),
        ({"mode": "departure", "energy": "10", "ready_at": ""}, "Give a day and a time."),
        ({"mode": "departure", "energy": "10", "ready_at": "2020-01-01T07:00"}, "in the past"),
        ({"mode": "departure", "energy": "2000", "ready_at": "2026-06-16T07:00"}, "no energy"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(home: Home, asked: dict, says: str):
    assert says in words(home.post("policy", **asked), 422)
    assert not ChargingPolicy.objects.exists()


@pytest.mark.parametrize(
    ("language", "energy", "says"),
    [
        ("en", "abc", "So much energy: Write an energy such as 2.5 (kWh) or 2500 Wh."),
        ("en", "-4", "So much energy: This is no energy that a vehicle could take."),
        ("en", "10,5", "So much energy: Write decimals with a point: 4.2."),
        ("de", "10,5", "Das geht: "),
    ],
)
def test_while_it_is_typed_the_preview_says_what_is_wrong(home: Home, language, energy, says):
    asked = {"mode": "departure", "energy": energy, "ready_at": "2026-06-16T07:00", "preview": "1"}
    part = {"HX-Request": "true", "HX-Target": "car-preview", "Accept-Language": language}
    client = home.client()
    client.cookies["django_language"] = language
    assert says in words(client.post(f"{home.url}/policy", asked, headers=part))


def test_charge_now_is_a_wish_for_full_power_and_can_be_stopped_and_resumed(home: Home):
    assert home.post("charge-now", until="2h").status_code == 302
    row = Constraint.objects.get(emitter_kind=EmitterKind.LOCAL_USER)
    assert (row.set_point_w, row.closest, row.invalid_at) == (11_000, True, home.now + 2 * HOUR)
    said = home.shown()
    until = f"{row.invalid_at.astimezone(home.cast.lindenweg.zone):%H:%M}"
    assert f"Full power until {until} asked for by you" in said
    assert f"You asked for full power, 11 kW until {until}." in said
    home.set(Mode.SURPLUS)
    assert f"Goes on at {until}, after “charge now”." in home.shown()
    stopped = home.post("stop")
    assert stopped.url == f"{home.url}?undo={row.pk}"
    assert "Withdrawn: 11 kW, or as close as allowed. Undo" in home.shown(path=f"?undo={row.pk}")
    home.client().post(f"/constraints/{row.pk}/restore")
    assert f"Full power until {until}" in home.shown()


def test_a_fleet_managers_charge_now_is_theirs(home: Home):
    home.post("charge-now", home.cast.fleet, until="1h")
    assert "You asked for full power, 11 kW until" in home.shown(home.cast.fleet)
    said = home.shown()
    assert "The fleet manager asked for 11 kW until" in said
    assert "asked for by the fleet manager" in said
    assert "Stop" not in said


def test_a_push_costs_a_bounded_number_of_queries(home: Home, django_assert_max_num_queries):
    home.set(Mode.SURPLUS)
    home.post("charge-now", until="1h")
    with django_assert_max_num_queries(30):
        render_live(home.cast.evcs, user=home.cast.mara, now=home.now)


def test_the_constraint_of_a_policy_says_who_set_it(home: Home):
    fleet = home.cast.fleet
    home.set(Mode.OFF, by=fleet, target=home.cast.lindenweg)

    def told(user) -> str:
        page = words(home.client(user).get(f"/appliances/{home.cast.evcs.pk}"))
        return page.split("the strongest first")[1]

    assert "set by you priority 1,000" in told(fleet)
    # Residents are told as what, and no name.
    assert "set by the fleet manager priority 1,000" in told(home.cast.mara)
    assert f"set by the fleet manager, {fleet} priority 1,000" in told(home.cast.admin)


def test_a_policys_bar_is_labelled_with_what_it_asks_now(home: Home, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: home.now)
    home.set(Mode.SURPLUS)
    for _minute in range(15):
        home.now += HOUR / 60
        home.read(grid_w=-6_000)
    assert Constraint.objects.get(policy__isnull=False, fallback=False).max_w == 4_140
    for page in ("", "/constraints/new"):
        answer = home.client().get(f"/appliances/{home.cast.evcs.pk}{page}")
        html = answer.content.decode().replace(NBSP, " ")
        labels = re.findall(r"<text[^>]*>([^<]*)</text>", html)
        assert "≤ 0 kW" not in labels, "as if nothing were allowed now"
        assert "now ≤ 4.14 kW, else ≤ 0 kW" in labels


def test_charge_now_warns_of_the_limit_that_it_would_break(home: Home):
    cluster = Cluster.objects.create(system=home.cast.lindenweg, name="Depot")
    Appliance.objects.filter(pk=home.cast.evcs.pk).update(cluster=cluster)
    home.read(grid_w=0)
    limit = LimitDraft(max_w=6_000, invalid_at=home.now + 24 * HOUR)
    set_limit(cluster=cluster, draft=limit, by=emitter_of(home.cast.fleet), now=home.now - HOUR)
    fleet, mara = home.shown(home.cast.fleet), home.shown()
    assert "It would charge with 11 kW, wherever the power comes from." in fleet
    assert "The limit of “Depot”, 6 kW, could not be kept: 5 kW too much." in fleet
    # What residents ask for weighs less than the limit.
    assert "It would get 6 kW, not 11 kW: others limit it." in mara
    assert "could not be kept" not in mara


def test_charge_now_once_more_only_moves_its_end(home: Home):
    home.post("charge-now", until="1h")
    home.post("charge-now", until="morning")
    [row] = Constraint.objects.filter(emitter_kind=EmitterKind.LOCAL_USER, withdrawn_at=None)
    assert f"{row.invalid_at.astimezone(home.cast.lindenweg.zone):%H:%M}" == "06:00"


def test_charge_now_until_a_time_that_is_over_is_refused_at_the_field(home: Home):
    response = home.post("charge-now", until="until", until_at="2026-06-01T10:00")
    assert "That lies in the past." in words(response, 422)


def test_a_fleet_managers_limit_is_named(home: Home):
    home.limit(5_000, emitter_of(home.cast.fleet))
    assert "The fleet manager allows at most 5 kW until" in home.shown()
    assert "It would get 5 kW, not 11 kW: others limit it." in home.shown()
    home.post("charge-now", until="1h")
    said = home.shown()
    assert "You asked for full power, 11 kW" in said
    assert "The fleet manager allows at most 5 kW until" in said


@pytest.mark.parametrize(
    ("max_w", "said"),
    [(5_000, "You allow at most 5 kW until"), (1_000, "You do not let it charge until")],
)
def test_ones_own_limit_is_ones_own(home: Home, max_w, said):
    home.limit(max_w, emitter_of(home.cast.mara))
    assert said in home.shown()


def test_a_grid_operators_dimming_is_named(home: Home):
    home.limit(4_200, Emitter(EmitterKind.GRID_OPERATOR, home.cast.grid_operator))
    home.set(Mode.FORCED)
    said = home.shown()
    assert "Charges at full power, wherever the power comes from." in said
    assert "The grid operator dims it to 4.2 kW until" in said


def test_a_stronger_policy_of_the_fleet_manager_wins_and_the_page_says_so(home: Home):
    home.set(Mode.OFF, by=home.cast.fleet, target=home.cast.lindenweg, priority=3_000)
    home.set(Mode.FORCED)
    home.post("charge-now", until="1h")
    said = home.shown()
    assert "Waits: “off” of the fleet manager weighs more." in said
    assert "for all stations of Lindenweg 12" in said
    assert "But the charging policy “off” of the fleet manager weighs more." in said or (
        "Is switched off." in said
    )
    tried = words(home.post("policy", mode="forced", preview="1"))
    assert "It would wait all the same: “off” of the fleet manager weighs more." in tried


def test_a_policy_can_be_ended(home: Home):
    policy = home.set(Mode.SURPLUS)
    assert "End it" in home.shown()
    response = home.client().post(f"/charging-policies/{policy.pk}/end")
    assert response.url == f"{home.url}?undo={policy.pk}"
    assert "sun only set by" not in home.shown()
    assert "Withdrawn: sun only." in words(home.client().get(response.url))
    home.client().post(f"/charging-policies/{policy.pk}/restore")
    assert "sun only set by" in home.shown()


def test_a_policy_can_be_ended_from_what_was_pushed_too(home: Home):
    policy = home.set(Mode.SURPLUS)
    pushed = render_live(home.cast.evcs, user=home.cast.mara, now=home.now)
    # Without a token of its own: the page's header has it.
    url = f"/charging-policies/{policy.pk}/end"
    assert f'hx-post="{url}" hx-target="#undo"' in pushed
    assert "Withdrawn: sun only." in words(home.client().post(url, headers={"HX-Request": "true"}))
    assert "End it" not in home.shown()


def test_less_than_all_that_was_asked_for_is_not_called_full_power(home: Home):
    draft = Draft(set_point_w=8_000, closest=True, invalid_at=home.now + HOUR)
    by = emitter_of(home.cast.mara)
    set_constraints(target=home.cast.evcs, drafts=[draft], emitter=by, now=home.now)
    said = home.shown()
    assert "You asked for 8 kW until" in said
    assert "8 kW until" in said
    assert "ull power" not in said.split("How it charges")[0]


def test_a_share_of_a_limit_is_named_with_its_cluster(home: Home):
    cluster = Cluster.objects.create(system=home.cast.lindenweg, name="Garage")
    Appliance.objects.filter(pk=home.cast.evcs.pk).update(cluster=cluster)
    set_limit(
        cluster=cluster,
        draft=LimitDraft(max_w=7_000, invalid_at=home.now + HOUR),
        by=emitter_of(home.cast.fleet),
        now=home.now,
    )
    assert "It shares the limit of “Garage” with others: its share is 7 kW." in home.shown()


def test_a_station_that_takes_more_than_it_may_has_not_followed_yet(home: Home):
    home.limit(5_000, emitter_of(home.cast.fleet))
    home.read(grid_w=11_000, car_w=10_900)
    assert "The station has not followed yet." in home.shown()


def test_viewers_read_and_touch_nothing(home: Home):
    home.set(Mode.SURPLUS)
    said = home.shown(home.cast.viewer)
    assert "Pauses: the sun gives 0 kW" in said
    assert "set by the resident" in said
    assert "Charge like this" not in said
    assert "End it" not in said
    pushed = render_live(home.cast.evcs, user=home.cast.viewer, now=home.now)
    assert 'id="car-boost"' not in pushed


def test_only_charging_stations_have_such_a_page(home: Home):
    client = home.client()
    assert client.get(f"/cars/{home.cast.battery.pk}").status_code == 404
    html = client.get("/").content.decode()
    assert f'href="{home.url}"' in html
    assert f'href="/cars/{home.cast.battery.pk}"' not in html


def test_what_is_pushed_is_what_the_page_shows(home: Home):
    pushed = render_live(home.cast.evcs, user=home.cast.mara, now=home.now)
    assert pushed.count('hx-swap-oob="morph"') == 3
    headers = {"HX-Request": "true", "HX-Target": "car-now"}
    part = home.client().get(home.url, headers=headers).content.decode()
    assert "<html" not in part
    assert 'id="car-boost"' in part


def test_it_speaks_german(home: Home):
    home.set(Mode.SURPLUS)
    response = home.client().get(home.url, headers={"accept-language": "de"})
    assert "Pausiert: Die Sonne gibt 0 kW, das Auto braucht 4,14 kW." in words(response)


# Groups ------------------------------------------------------------------------------------------


def test_a_fleet_manager_sets_and_ends_the_policy_of_a_cluster(home: Home):
    cluster = Cluster.objects.create(system=home.cast.lindenweg, name="Garage")
    Appliance.objects.filter(pk=home.cast.evcs.pk).update(cluster=cluster)
    client, url = home.client(home.cast.fleet), f"/clusters/{cluster.pk}/charging-policy"
    assert "1 charging station" in words(client.get(url))
    asked = {"mode": "minimum_and_surplus", "priority": 3_000, "end": "4h"}
    assert client.post(url, asked).url == url
    policy = ChargingPolicy.objects.get()
    assert (policy.target, policy.priority) == (cluster, 3_000)
    assert policy.invalid_at == home.now + 4 * HOUR
    said = words(client.get(url))
    assert "minimum and sun set by you priority 3,000 until" in said
    assert "Charges with the least, 4.14 kW: the sun gives only 0 kW." in home.shown()
    ended = client.post(f"/charging-policies/{policy.pk}/end")
    assert ended.url == f"{url}?undo={policy.pk}"
    assert "Withdrawn:" in client.get(ended.url).content.decode()
    assert "In force" not in words(client.get(url))


def test_a_policy_of_a_system_is_refused_at_the_field_at_fault(home: Home):
    client = home.client(home.cast.fleet)
    url = f"/systems/{home.cast.lindenweg.pk}/charging-policy"
    said = words(client.post(url, {"mode": "", "priority": 1_000}), 422)
    assert "Choose how it charges." in said
    asked = {"mode": "off", "priority": 1_000, "end": "until", "end_at": "2020-01-01T00:00"}
    assert "That lies in the past." in words(client.post(url, asked), 422)


def test_a_resident_may_not_be_stronger_than_residents_are(home: Home):
    url = f"/systems/{home.cast.lindenweg.pk}/charging-policy"
    response = home.client().post(url, {"mode": "off", "priority": 9_999})
    assert response.status_code == 422


def test_a_group_without_a_station_says_so(home: Home):
    cluster = Cluster.objects.create(system=home.cast.lindenweg, name="Cellar")
    client = home.client(home.cast.fleet)
    assert "No charging station in it" in words(
        client.get(f"/clusters/{cluster.pk}/charging-policy")
    )
    assert clock.now() == home.now


def test_who_waits_for_its_turn_at_a_limit_reads_so(home: Home, client: Client, monkeypatch):
    cars = CarPark(home.cast, clock.now())
    cars.limit(5_000)
    cars.depart(25_000, 6)
    cars.live(1)
    monkeypatch.setattr(clock, "now", lambda: cars.now)
    [paused, *_others] = [
        one for one, share_w in zip(cars.stations, cars.shares(), strict=True) if share_w == 0
    ]
    client.force_login(home.cast.fleet)
    said = words(client.get(f"/cars/{paused.pk}"))
    assert "Waits for its turn: the limit that it shares" in said
    assert "Charges as fast as it may" not in said
