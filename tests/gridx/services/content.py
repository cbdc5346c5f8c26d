"""Something to find again in each server."""

import asyncio

import nats
import psycopg
import redis

from gridx.services import Addresses


def write_content(at: Addresses, text: str) -> None:
    """Leave the text in each server, acknowledged by it."""
    with psycopg.connect(at.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS content (text text)")
        connection.execute("INSERT INTO content VALUES (%s)", [text])
    with redis.Redis.from_url(at.valkey_url, decode_responses=True) as client:
        client.rpush("content", text)
        # Everysec is the setting; the tests want to know that this write is in the file.
        client.waitaof(1, 0, 5000)
    asyncio.run(_publish(at, text))


def read_content(at: Addresses) -> dict[str, list[str]]:
    with psycopg.connect(at.database_url) as connection:
        rows = [text for (text,) in connection.execute("SELECT text FROM content")]
    with redis.Redis.from_url(at.valkey_url, decode_responses=True) as client:
        items = client.lrange("content", 0, -1)
    return {"postgres": rows, "valkey": items, "nats": asyncio.run(_messages(at))}


def everywhere(*texts: str) -> dict[str, list[str]]:
    return {name: list(texts) for name in ("postgres", "valkey", "nats")}


async def _publish(at: Addresses, text: str) -> None:
    client = await nats.connect(at.nats_url)
    stream = client.jetstream()
    await stream.add_stream(name="CONTENT", subjects=["content.>"])
    await stream.publish("content.text", text.encode())
    await client.close()


async def _messages(at: Addresses) -> list[str]:
    client = await nats.connect(at.nats_url)
    stream = client.jetstream()
    state = (await stream.stream_info("CONTENT")).state
    found = [
        (await stream.get_msg("CONTENT", seq)).data.decode()
        for seq in range(state.first_seq, state.last_seq + 1)
    ]
    await client.close()
    return found
