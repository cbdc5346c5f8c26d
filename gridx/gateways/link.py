"""The link: takes what gateways send out of the log, stores it, and answers.

Whatever dies, nothing that a gateway saw acknowledged is lost, and nothing is counted twice: a
message leaves the log only after the database has committed what it says, and to store a message
again changes nothing. Any number of links share the work.

Two loops run in each. One stores readings, in batches, each of which is one transaction; several
at once, in no order. The other handles messages whose order counts; of all links only one runs
it, the one that holds the lock (`revocation.Watch.leads`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import nats.errors
from django.conf import settings
from django.db import transaction
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError

from gridx import clock
from gridx.gateways.arrivals import INTERNAL_ERROR, Arrival, Outcome, find_gateways
from gridx.gateways.consumers import (
    ORDERED,
    ORDERED_ACK_WAIT_S,
    READINGS,
    Portion,
    Pull,
    UnableToPull,
    hand_out_again,
    is_handled_up_to,
    number_of_next,
    pending_of,
)
from gridx.gateways.database import UNREACHABLE, DatabaseThreads
from gridx.gateways.faults import Fault, record_faults
from gridx.gateways.floods import Rates, hold_off
from gridx.gateways.hints import Hints
from gridx.gateways.ordered import apply_arrivals
from gridx.gateways.publisher import Publisher, UnableToPublish
from gridx.gateways.readings import store_arrivals
from gridx.gateways.tally import Tally
from gridx.gateways.topics import UnknownTopic, parse_subject
from gridx.gateways.waiting import is_set_within
from measurements.announce import announce

logger = logging.getLogger(__name__)

_READINGS_AT_ONCE = Portion()
_ORDERED_AT_ONCE = Portion(messages=250)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# How soon a message is looked at again whose gateway's hello is still on the way.
_DEFERRED_S = 1.0
# A message that makes this program fail comes again less and less often.
_FIRST_RETRY_S = 30.0
_LAST_RETRY_S = 3600.0
_MENDED_WITHIN = timedelta(days=1)
# What was wrong can be read at the gateway's page as well: telling the gateway delays nobody.
_ERROR_PATIENCE_S = 1.0
_BROKER_TROUBLE = (nats.errors.Error, JetStreamError, UnableToPull)


class StoppedWaiting(Exception):
    """The link is to end, and the database did not come back before."""


class Link:
    """The two loops, over connections that others keep."""

    def __init__(
        self,
        *,
        client: Client,
        database: DatabaseThreads,
        publisher: Publisher,
        hints: Hints,
        tally: Tally,
        ready: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:
        """`ready` is set while the broker is there, with its consumers."""
        self._client, self._database = client, database
        self._publisher, self._hints, self._tally = publisher, hints, tally
        self._ready, self._stop = ready, stop
        self._js: JetStreamContext = client.jetstream()
        self._rates = Rates(settings.GATEWAY_MESSAGES_A_MINUTE)

    async def store_readings(self) -> None:
        """Store what comes until the link is to end, whatever happens to the broker."""
        while not self._stop.is_set():
            if not await is_set_within(self._ready, 1.0):
                continue
            try:
                await self._store_readings()
            except _BROKER_TROUBLE as error:
                logger.warning("Fetching readings is begun again: %s", error)
                await self._rest(_FIRST_PAUSE_S)

    async def _store_readings(self) -> None:
        async with Pull(self._client, READINGS, _READINGS_AT_ONCE) as pull:
            while not self._stop.is_set():
                batch = await pull.next_batch()
                if batch:
                    await self._handle_readings(batch)
            # What is here unstored goes back at once.
            for message in pull.waiting():
                await message.nak()

    async def _handle_readings(self, batch: list[Msg]) -> None:
        try:
            arrivals = _arrivals(batch)
            await self._hold_floods_off(self._rates, batch, arrivals)
            outcome = await self._patiently(store_arrivals, arrivals, may_defer=True)
            deferred = await self._reconsider(arrivals, outcome) if outcome.deferred else set()
        except StoppedWaiting:
            return
        try:
            kept = await self._kept(batch, outcome.failed) if outcome.failed else set()
            for message, arrival in zip(batch, arrivals, strict=True):
                if arrival.number in deferred:
                    await message.nak(delay=_DEFERRED_S)
                elif arrival.number in kept:
                    await message.nak(delay=_retry_pause_s(message.metadata.num_delivered))
                else:
                    await message.ack()
        except nats.errors.Error as error:
            # They come again, and change nothing.
            logger.warning("Not all of a batch could be acknowledged: %s", error)
        await self._tell(outcome)

    async def _kept(self, batch: list[Msg], failed: set[int]) -> set[int]:
        """The failed messages (their numbers) that come again: for a day, and while there is room.

        Each that is kept takes up a place (`max_ack_pending`), and with none left the server hands
        out nothing new: half of the places are left to what is on its way, some portions for each
        loop. What is not kept is given up; a fault of its gateway says what failed, and why.
        """
        pending = await pending_of(self._js, READINGS)
        kept: set[int] = set()
        if pending <= READINGS.max_ack_pending // 2:
            mendable = {one.metadata.sequence.stream for one in batch if _may_be_mended(one)}
            kept = mendable & failed
        if given_up := len(failed) - len(kept):
            self._tally.count("messages given up", given_up)
            logger.error(
                "%d messages that failed here are given up and lost (%d are pending)",
                given_up,
                pending,
            )
        return kept

    async def _hold_floods_off(
        self, rates: Rates, batch: list[Msg], arrivals: list[Arrival]
    ) -> None:
        """Cut off gateways that send too much, before others wait for the rest of it."""
        floods = rates.beyond(
            arrival
            for message, arrival in zip(batch, arrivals, strict=True)
            if message.metadata.num_delivered == 1
        )
        if not floods:
            return
        most = settings.GATEWAY_MESSAGES_A_MINUTE
        try:
            held = await self._database.run(hold_off, serials=floods, most=most, now=clock.now())
        except UNREACHABLE as error:
            # Nothing else goes on without the database either; the next batch tries again.
            logger.warning("Floods of %s go on: %s", sorted(floods), str(error).strip())
        else:
            for serial in held:
                self._tally.count("gateways held off", example=serial)

    async def _reconsider(self, arrivals: list[Arrival], outcome: Outcome) -> set[int]:
        """Handle what was deferred, where no hello is on the way that could change the matter.

        Returns the numbers of those that are to come again later.
        """
        last = max(outcome.deferred)
        try:
            nothing_before = await is_handled_up_to(self._js, ORDERED, last)
        except _BROKER_TROUBLE as error:
            logger.info("Readings of unknown appliances wait: %s", error)
            nothing_before = False
        if not nothing_before:
            self._tally.count("messages deferred", len(outcome.deferred))
            return outcome.deferred
        again = [arrival for arrival in arrivals if arrival.number in outcome.deferred]
        outcome.join(await self._patiently(store_arrivals, again))
        return set()

    async def keep_order(self, leads: asyncio.Event) -> None:
        """Handle what must keep its order, whenever this link leads, until it is to end."""
        while not self._stop.is_set():
            if not await is_set_within(self._ready, 1.0) or not await is_set_within(leads, 1.0):
                continue
            try:
                first = await number_of_next(self._js, ORDERED)
                if first is not None:
                    await self._lead(leads, first)
                    continue
                # A predecessor may still be at work on it, and acknowledge it.
                await self._rest(ORDERED_ACK_WAIT_S + 1.0)
                if leads.is_set() and not self._stop.is_set():
                    await hand_out_again(self._js, ORDERED)
            except (*_BROKER_TROUBLE, UnableToPublish, *UNREACHABLE) as error:
                logger.warning("The order is kept by beginning again: %s", str(error).strip())
                await self._rest(_FIRST_PAUSE_S)

    async def _lead(self, leads: asyncio.Event, first: int) -> None:
        done = 0
        # What is handed out again counts anew, or it would count twice.
        rates = Rates(settings.GATEWAY_MESSAGES_A_MINUTE)
        async with Pull(self._client, ORDERED, _ORDERED_AT_ONCE, first=first) as pull:
            while leads.is_set() and not self._stop.is_set():
                batch = await pull.next_batch()
                if not batch:
                    continue
                _check_that_acknowledgements_count(batch, done)
                new = _after(done, batch)
                if new:
                    arrivals = _arrivals(new)
                    await self._hold_floods_off(rates, new, arrivals)
                    outcome = await self._one_by_one_at_worst(apply_arrivals, arrivals)
                    # A hello is done with when its answer is on its way.
                    await self._publisher.publish(outcome.answers.messages)
                    outcome.answers.messages.clear()
                    done = new[-1].metadata.sequence.stream
                    await self._tell(outcome)
                await (new or batch)[-1].ack()

    async def _patiently(
        self, handle: Callable[..., Outcome], arrivals: Sequence[Arrival], **options: bool
    ) -> Outcome:
        """Handle them, however long the database takes to come back. Raises StoppedWaiting."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._one_by_one_at_worst(handle, arrivals, **options)
            except UNREACHABLE as error:
                logger.warning("A batch waits for the database: %s", str(error).strip())
                if self._stop.is_set():
                    raise StoppedWaiting from error
            await self._rest(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _one_by_one_at_worst(
        self, handle: Callable[..., Outcome], arrivals: Sequence[Arrival], **options: bool
    ) -> Outcome:
        """Handle them together, or each by itself when one of them makes that fail."""
        try:
            return await self._database.run(handle, arrivals=arrivals, now=clock.now(), **options)
        except UNREACHABLE:
            raise
        except Exception:
            logger.exception("A batch of %d messages failed; now one by one", len(arrivals))
        outcome = Outcome()
        for arrival in arrivals:
            try:
                part = await self._database.run(
                    handle, arrivals=[arrival], now=clock.now(), **options
                )
            except UNREACHABLE:
                raise
            except Exception as error:
                logger.exception("A message on %s cannot be handled", arrival.subject)
                part = await self._database.run(_note_failure, arrival, error, now=clock.now())
            outcome.join(part)
        return outcome

    async def _tell(self, outcome: Outcome) -> None:
        """Tell workers and pages what is new, gateways what was wrong, the log how much it was."""
        self._tally.add(outcome.counts)
        if outcome.late:
            self._hints.ask()
        if outcome.news:
            await announce(outcome.news)
        if outcome.answers.messages:
            try:
                await self._publisher.publish(
                    outcome.answers.messages, patience_s=_ERROR_PATIENCE_S
                )
            except UnableToPublish as error:
                logger.warning("Gateways were not told what was wrong: %s", error)

    async def _rest(self, seconds: float) -> None:
        """Wait, but no longer than until the link is to end."""
        await is_set_within(self._stop, seconds)


def _arrivals(batch: Sequence[Msg]) -> list[Arrival]:
    """The messages; when they arrived, by this installation's clock."""
    now, real_now = clock.now(), datetime.now(UTC)
    return [
        Arrival(
            subject=message.subject,
            body=message.data,
            at=now - max(real_now - message.metadata.timestamp, timedelta()),
            number=message.metadata.sequence.stream,
        )
        for message in batch
    ]


def _after(done: int, batch: Sequence[Msg]) -> list[Msg]:
    """Those behind this place of the log. The others came again while they were being handled."""
    new = []
    for message in batch:
        if message.metadata.sequence.stream > done:
            done = message.metadata.sequence.stream
            new.append(message)
    return new


def _check_that_acknowledgements_count(batch: Sequence[Msg], done: int) -> None:
    """Raises UnableToPull when what was acknowledged comes again and again.

    The server takes an acknowledgement for old when it has seen one with a higher number: such as a
    predecessor's that comes late, from before all was handed out again and numbered anew.
    """
    for message in batch:
        if message.metadata.sequence.stream <= done and message.metadata.num_delivered > 2:
            raise UnableToPull("acknowledgements are not taken")


def _may_be_mended(message: Msg) -> bool:
    """Whether a reading that failed here comes again: for a day, in which the mistake may go."""
    return datetime.now(UTC) - message.metadata.timestamp < _MENDED_WITHIN


def _retry_pause_s(attempts: int) -> float:
    return min(_FIRST_RETRY_S * 2 ** min(attempts - 1, 10), _LAST_RETRY_S)


def _note_failure(arrival: Arrival, error: Exception, *, now: datetime) -> Outcome:
    """Show at its gateway that a message could not be handled; the link goes on."""
    outcome = Outcome(failed={arrival.number})
    outcome.count("messages that failed here")
    try:
        address = parse_subject(arrival.subject)
    except UnknownTopic:
        return outcome
    with transaction.atomic():
        gateway = find_gateways([address.serial]).get(address.serial)
        if gateway is not None:
            fault = Fault(
                gateway_id=gateway.id,
                topic=address.channel.value,
                reason=INTERNAL_ERROR,
                detail=f"{type(error).__name__}: {error}",
                body=arrival.body,
            )
            record_faults(faults=[fault], now=now)
    return outcome
