import asyncio

import numpy as np
import pytest

from server.session.broadcast import Broadcast, BroadcastEnded

RGB = np.zeros((2, 2, 3), np.uint8)


async def test_who_comes_while_others_watch_sees_the_newest_at_once():
    broadcast = Broadcast()
    broadcast.subscribe()
    broadcast.publish(RGB, 100)
    broadcast.publish(RGB, 200)
    assert (await broadcast.subscribe().next()).pts == 200


async def test_what_went_out_while_nobody_watched_is_not_shown_later():
    broadcast = Broadcast()
    broadcast.publish(RGB, 100)
    late = broadcast.subscribe()
    broadcast.publish(RGB, 200)
    assert (await late.next()).pts == 200
    late.close()
    waiting = asyncio.create_task(broadcast.subscribe().next())
    await asyncio.sleep(0)
    assert not waiting.done()
    broadcast.publish(RGB, 300)
    assert (await waiting).pts == 300


async def test_who_is_slow_misses_pictures_and_nobody_waits_for_them():
    seen, missed = [], []
    broadcast = Broadcast(missed=lambda: missed.append(1))
    quick = broadcast.subscribe()
    slow = broadcast.subscribe()
    for pts in range(5):
        broadcast.publish(RGB, pts)
        seen.append((await quick.next()).pts)
    assert seen == [0, 1, 2, 3, 4]
    assert (await slow.next()).pts == 4 and len(missed) == 4
    broadcast.publish(RGB, 5)
    assert (await slow.next()).pts == 5 and len(missed) == 4


async def test_who_waits_is_given_the_next_picture():
    broadcast = Broadcast()
    waiting = asyncio.create_task(broadcast.subscribe().next())
    await asyncio.sleep(0)
    broadcast.publish(RGB, 7)
    assert (await waiting).pts == 7


async def test_a_new_subscriber_is_told_and_counted_until_it_leaves():
    told = []
    broadcast = Broadcast(lambda: told.append(broadcast.is_watched))
    assert not broadcast.is_watched
    subscription = broadcast.subscribe()
    assert told == [True]
    subscription.close()
    subscription.close()
    assert not broadcast.is_watched


@pytest.mark.parametrize("ends", [lambda broadcast, one: broadcast.end(), lambda broadcast, one: one.close()])
async def test_the_end_is_told_to_who_waits_and_to_who_asks_again(ends):
    broadcast = Broadcast()
    subscription = broadcast.subscribe()
    broadcast.publish(RGB, 0)
    await subscription.next()
    waiting = asyncio.create_task(subscription.next())
    await asyncio.sleep(0)
    ends(broadcast, subscription)
    for asking in (waiting, subscription.next()):
        with pytest.raises(BroadcastEnded):
            await asking


async def test_who_comes_after_the_end_is_told_so():
    broadcast = Broadcast()
    broadcast.end()
    with pytest.raises(BroadcastEnded):
        await broadcast.subscribe().next()
    assert not broadcast.is_watched
