import pytest
from rest_framework.test import APIClient

from accounts.models import Account


@pytest.fixture
def admin(cast) -> APIClient:
    client = APIClient()
    client.force_authenticate(cast.admin)
    return client


def names(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()]


def test_an_account_is_the_wires_object(cast, admin):
    Account.objects.filter(pk=cast.meyers.pk).update(
        email="home@meyer.example", address_line1="Lindenweg 12", postal_code="52062", city="Aachen"
    )
    body = admin.get(f"/api/accounts/{cast.meyers.pk}").json()
    assert body.pop("createdAt").endswith("Z")
    assert body.pop("updatedAt").endswith("Z")
    assert body == {
        "id": str(cast.meyers.pk),
        "name": "Family Meyer",
        "email": "home@meyer.example",
        "kind": "end-user",
        "solution": "GENERAL",
        "parentID": str(cast.north.pk),
        "mainAddress": {
            "addressLine1": "Lindenweg 12",
            "postalcode": "52062",
            "city": "Aachen",
        },
    }


def test_what_an_account_does_not_have_is_absent(cast, admin):
    body = admin.get("/api/account").json()
    assert not {"parentID", "email", "mainAddress"} & set(body)
    assert body["name"] == "Operator AG"


def test_staff_without_an_account_have_no_own(cast):
    client = APIClient()
    client.force_authenticate(cast.staff)
    assert client.get("/api/account").status_code == 404
    assert "accountID" not in client.get("/api/user").json()


def test_accounts_come_from_the_top_down(cast, admin):
    assert names(admin.get("/api/accounts")) == [
        "Operator AG", "North", "Family Meyer", "South", "Family Schmidt"
    ]  # fmt: skip
    assert names(admin.get("/api/accounts?kind=end-user")) == ["Family Meyer", "Family Schmidt"]
    assert names(admin.get(f"/api/accounts/{cast.operator.pk}/accounts")) == ["North", "South"]
    assert names(admin.get(f"/api/accounts/{cast.operator.pk}/accounts?kind=end-user")) == []


def test_parents_go_up_as_far_as_the_caller_sees(cast, admin):
    url = f"/api/accounts/{cast.meyers.pk}/parents"
    assert admin.get(url).json() == [
        {"accountID": str(cast.north.pk)},
        {"accountID": str(cast.operator.pk)},
    ]
    fleet = APIClient()
    fleet.force_authenticate(cast.fleet)
    assert fleet.get(url).json() == [{"accountID": str(cast.north.pk)}]


def test_customers_are_accounts_of_end_users(cast, admin):
    assert names(admin.get("/api/customers")) == ["Family Meyer", "Family Schmidt"]
    newest_first = admin.get("/api/customers?sort=createdAt&order=desc")
    assert names(newest_first) == ["Family Schmidt", "Family Meyer"]
    assert admin.get(f"/api/customers/{cast.north.pk}").status_code == 404


@pytest.mark.parametrize(("query", "field"), [("kind=x", "kind"), ("kind=b2b%00", "kind")])
def test_an_unknown_kind_is_422(cast, admin, query, field):
    answer = admin.get(f"/api/accounts?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"] == [f"{field}: is one of b2b, end-user"]


@pytest.mark.parametrize("query", ["sort=password", "order=up"])
def test_an_unknown_order_is_422(cast, admin, query):
    answer = admin.get(f"/api/customers?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"][0].startswith(query.split("=")[0])


def test_a_user_is_the_wires_object(cast, admin):
    cast.mara.language = "de"
    cast.mara.contract_number, cast.mara.meter_number = "C-1", "1EMH0"
    cast.mara.save()
    (body,) = admin.get(f"/api/customers/{cast.meyers.pk}/users").json()
    assert body["fullName"] == "Mara Meyer"
    assert body["accountID"] == str(cast.meyers.pk)
    assert body["language"] == {"tag": "de", "name": "German", "nameNative": "Deutsch"}
    assert (body["customerID"], body["meterID"]) == ("C-1", "1EMH0")
    assert not {"password", "isStaff", "role"} & set(body)


def test_a_page_of_accounts_takes_two_queries(cast, admin, django_assert_num_queries):
    with django_assert_num_queries(2):
        admin.get("/api/accounts")
    with django_assert_num_queries(2):
        admin.get("/api/customers")


def test_a_bearer_is_known_by_one_query(cast, django_assert_num_queries):
    from tests.accounts.test_oauth import sign_in

    client = APIClient()
    token = sign_in(client)["access_token"]
    with django_assert_num_queries(1):
        client.get("/api/account", headers={"Authorization": f"Bearer {token}"})
