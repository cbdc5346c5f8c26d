import json

import jsonschema
import pytest

from gridx.gateways.asyncapi import PATH, asyncapi_document, rendered
from gridx.gateways.messages import MESSAGES
from gridx.gateways.topics import Channel


def test_the_committed_document_is_current():
    assert PATH.read_text(encoding="utf-8") == rendered(), "run python -m gridx.gateways.asyncapi"


def test_every_channel_is_described():
    document = asyncapi_document()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {f"gridx/v1/{{serial}}/{channel.value}" for channel in Channel}
    assert {message["name"] for message in document["components"]["messages"].values()} == {
        schema.__name__ for schema in MESSAGES.values()
    }
    assert all(message["summary"] for message in document["components"]["messages"].values())


def test_every_reference_leads_somewhere():
    document = asyncapi_document()
    for reference in references(document):
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [found for value in part.values() for found in references(value)]
    if isinstance(part, list):
        return [found for value in part for found in references(value)]
    return []


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        (
            {"v": 1, "seq": 1, "appliances": [{"appliance": "pv", "at": [1], "power_w": [None]}]},
            True,
        ),
        ({"v": 2, "seq": 1, "appliances": []}, False),
        ({"v": 1, "seq": -1, "appliances": []}, False),
        ({"v": 1, "seq": 1, "appliances": [{"appliance": "p v", "at": []}]}, False),
    ],
)
def test_the_published_schema_judges_as_the_decoder_does(body, is_valid):
    document = json.loads(rendered())
    payload = document["components"]["messages"]["upReadings"]["payload"]
    validator = jsonschema.Draft202012Validator({**document, **payload})
    assert validator.is_valid(body) is is_valid
